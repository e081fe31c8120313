//! Values and rows as both databases give and take them.

use std::cell::Cell;
use std::sync::Arc;

use crate::domain::{CallbackId, Timestamp};
use crate::store::{AppId, Origin, StoreError};

/// A value of a row or of a parameter.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Value {
    /// None.
    Null,
    /// A number, or a truth value as 0 or 1.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// A text. Bytes, because SQLite may hold text that is no UTF-8.
    Text(Vec<u8>),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Integer(_) => "a number",
            Self::Real(_) => "a number with a fraction",
            Self::Text(_) => "text",
        }
    }
}

impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(number) => Self::from(*number),
            Value::Real(number) => Self::from(*number),
            Value::Text(bytes) => Self::from(String::from_utf8_lossy(bytes)),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Integer(flag.into())
    }
}

impl From<Timestamp> for Value {
    fn from(moment: Timestamp) -> Self {
        Self::Integer(moment.as_millis())
    }
}

impl From<CallbackId> for Value {
    fn from(id: CallbackId) -> Self {
        Self::Integer(id.0)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A type that a column is read as; the error says what it wants instead.
pub(in crate::store) trait FromValue: Sized {
    fn from_value(value: &Value) -> Result<Self, &'static str>;
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Result<Self, &'static str> {
        match value {
            Value::Integer(number) => Ok(*number),
            _ => Err("a number"),
        }
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Result<Self, &'static str> {
        let number = i64::from_value(value)?;
        Self::try_from(number).map_err(|_| "a number from 0 on")
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Result<Self, &'static str> {
        let number = i64::from_value(value)?;
        Self::try_from(number).map_err(|_| "a number of 32 bits")
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self, &'static str> {
        Ok(i64::from_value(value)? != 0)
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value) -> Result<Self, &'static str> {
        match value {
            Value::Real(number) => Ok(*number),
            _ => Err("a number with a fraction"),
        }
    }
}

/// For people, who must be able to look at a text that is no UTF-8, too.
impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, &'static str> {
        match value {
            Value::Text(bytes) => Ok(Self::from_utf8_lossy(bytes).into_owned()),
            _ => Err("text"),
        }
    }
}

impl FromValue for Origin {
    fn from_value(value: &Value) -> Result<Self, &'static str> {
        match value {
            Value::Text(bytes) => Ok(Self::new(bytes)),
            _ => Err("text"),
        }
    }
}

impl FromValue for AppId {
    fn from_value(value: &Value) -> Result<Self, &'static str> {
        match value {
            Value::Text(bytes) => Ok(Self::new(bytes)),
            _ => Err("text"),
        }
    }
}

impl FromValue for Timestamp {
    fn from_value(value: &Value) -> Result<Self, &'static str> {
        i64::from_value(value).map(Self::from_millis)
    }
}

impl FromValue for CallbackId {
    fn from_value(value: &Value) -> Result<Self, &'static str> {
        i64::from_value(value).map(Self)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self, &'static str> {
        match value {
            Value::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}

/// A row, read by the names of its columns.
#[derive(Debug)]
pub(in crate::store) struct Row {
    columns: Arc<[String]>,
    values: Vec<Value>,
    /// Columns are mostly read in their order: the next one is looked for here first.
    next: Cell<usize>,
}

impl Row {
    pub(in crate::store) fn new(columns: &Arc<[String]>, values: Vec<Value>) -> Self {
        Self {
            columns: Arc::clone(columns),
            values,
            next: Cell::new(0),
        }
    }

    /// The names of the columns, and the values.
    pub(in crate::store) fn into_parts(self) -> (Arc<[String]>, Vec<Value>) {
        (self.columns, self.values)
    }

    /// Reads a column.
    pub(in crate::store) fn get<T: FromValue>(&self, column: &str) -> Result<T, StoreError> {
        let is_wanted = |at: &usize| self.columns.get(*at).is_some_and(|name| name == column);
        let at = Some(self.next.get())
            .filter(is_wanted)
            .or_else(|| (0..self.columns.len()).find(is_wanted))
            .ok_or_else(|| self.fault(column, "it is not in the result"))?;
        self.next.set(at + 1);
        let value = &self.values[at];
        T::from_value(value).map_err(|wanted| {
            let fault = format!("{} instead of {wanted}", value.kind());
            self.fault(column, &fault)
        })
    }

    /// Reads a column whose text stands for something else.
    pub(in crate::store) fn parsed<T>(
        &self,
        column: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        parse(&text).ok_or_else(|| self.fault(column, &format!("unexpected text {text:?}")))
    }

    /// Names the row by its first column, which is a key in every statement that reads rows.
    fn fault(&self, column: &str, fault: &str) -> StoreError {
        let key = match (self.columns.first(), self.values.first()) {
            (Some(name), Some(Value::Integer(number))) => format!("row with {name} {number}"),
            (Some(name), Some(Value::Text(bytes))) => {
                format!("row with {name} {:?}", String::from_utf8_lossy(bytes))
            }
            _ => "row".to_owned(),
        };
        StoreError::Other(format!("{key}, column {column}: {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_of_another_kind_is_named_with_its_row() {
        let columns = ["id".to_owned(), "amount".to_owned()].into();
        let row = Row::new(&columns, vec![Value::Integer(7), Value::Null]);
        let error = row.get::<String>("amount").expect_err("NULL is no text");
        assert_eq!(
            error,
            StoreError::Other("row with id 7, column amount: NULL instead of text".to_owned())
        );
        assert_eq!(row.get::<Option<String>>("amount"), Ok(None));
        assert_eq!(row.get("id"), Ok(CallbackId(7)), "read after a later one");
    }
}
