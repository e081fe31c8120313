//! The gateway's own books: a CSV file, or a query of its SQLite file.
//!
//! Both have the columns `kind`, `newpay_order_no`, `app_id`, `amount`, `currency` and `result`, and
//! `newpay_refund_order_no` if there are refunds; in any order, others are not looked at.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::domain::{
    Amount, Currency, GatewayPayment, InvalidValue, Kind, ResultKey, TransactionResult,
};
use crate::store::sqlite::{PaymentsQuery, QueryError};

/// What the books hold, row by row. What follows an error is not to be read.
pub type Payments = Box<dyn Iterator<Item = Result<GatewayPayment, PaymentsError>> + Send>;

/// Why the books can't be read.
#[derive(Debug, Error)]
pub enum PaymentsError {
    /// The file can't be opened.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no CSV from this place on.
    #[error("{books}, {place}: {fault}")]
    Csv {
        /// The file.
        books: String,
        /// The line.
        place: String,
        /// What is wrong.
        fault: String,
    },
    /// The query failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A column is missing, or there twice.
    #[error(
        "{books}: {} column {column}; expected kind, newpay_order_no, app_id, amount, currency, \
         result, and newpay_refund_order_no for refunds",
        if *.twice { "more than one" } else { "no" }
    )]
    Column {
        /// The file or query.
        books: String,
        /// The column.
        column: &'static str,
        /// Whether it is there more than once.
        twice: bool,
    },
    /// A field is not what it should be.
    #[error("{books}, {place}, column {column}: {fault}")]
    Field {
        /// The file or query.
        books: String,
        /// The line or row.
        place: String,
        /// The column.
        column: &'static str,
        /// What is wrong, and the remedy.
        fault: String,
    },
}

/// Reads `path`: UTF-8, commas, a line of column names first.
///
/// # Errors
///
/// The file can't be opened, or a column is missing.
pub fn csv_payments(path: &Path) -> Result<Payments, PaymentsError> {
    let file = File::open(path).map_err(|source| PaymentsError::File {
        path: path.to_owned(),
        source,
    })?;
    let books = path.display().to_string();
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(file);
    let names = reader
        .headers()
        .map_err(|error| csv_fault(&books, &error))?;
    let names: Vec<&str> = names.iter().collect();
    if let [only] = names[..]
        && let Some(separator) = only.chars().find(|it| matches!(it, ';' | '\t' | '|'))
    {
        return Err(PaymentsError::Csv {
            books,
            place: Place::Line(1).to_string(),
            fault: format!("the columns are separated by {separator:?}; save the file with commas"),
        });
    }
    let columns = Columns::find(&books, &names)?;
    let rows = reader.into_records().map(move |record| {
        let record = record.map_err(|error| csv_fault(&books, &error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let row = Row {
            books: &books,
            place: Place::Line(line),
            columns: &columns,
            field: &|column| record.get(column).unwrap_or_default(),
        };
        row.payment()
    });
    Ok(Box::new(rows))
}

fn csv_fault(books: &str, error: &csv::Error) -> PaymentsError {
    let line = error.position().map_or(1, csv::Position::line);
    let fault = match error.kind() {
        csv::ErrorKind::Utf8 { err, .. } => {
            let field = err.field() + 1;
            format!("field {field} is not UTF-8; save the file as UTF-8")
        }
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("{len} fields instead of {expected_len}; quote fields that hold a comma"),
        csv::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    };
    PaymentsError::Csv {
        books: books.to_owned(),
        place: Place::Line(line).to_string(),
        fault,
    }
}

/// Runs `sql` on the SQLite file at `path`, which is opened for reading only.
///
/// # Errors
///
/// The file can't be opened, `sql` is not a query, or a column is missing.
pub fn sql_payments(path: &Path, sql: &str) -> Result<Payments, PaymentsError> {
    let query = PaymentsQuery::start(path, sql)?;
    let books = "--sql".to_owned();
    let names: Vec<&str> = query.columns.iter().map(String::as_str).collect();
    let columns = Columns::find(&books, &names)?;
    let rows = (1..).zip(query).map(move |(number, fields)| {
        let fields = fields?;
        let row = Row {
            books: &books,
            place: Place::Row(number),
            columns: &columns,
            field: &|column| fields.get(column).map_or("", String::as_str),
        };
        row.payment()
    });
    Ok(Box::new(rows))
}

/// Where each column stands.
#[derive(Clone, Copy, Debug)]
struct Columns {
    kind: usize,
    newpay_order_no: usize,
    newpay_refund_order_no: Option<usize>,
    app_id: usize,
    amount: usize,
    currency: usize,
    result: usize,
}

impl Columns {
    fn find(books: &str, names: &[&str]) -> Result<Self, PaymentsError> {
        let fault = |column, twice| PaymentsError::Column {
            books: books.to_owned(),
            column,
            twice,
        };
        let optional = |column| {
            let mut found = names
                .iter()
                .enumerate()
                .filter(|(_, name)| **name == column);
            let first = found.next().map(|(place, _)| place);
            match found.next() {
                Some(_) => Err(fault(column, true)),
                None => Ok(first),
            }
        };
        let required = |column| optional(column)?.ok_or_else(|| fault(column, false));
        Ok(Self {
            kind: required("kind")?,
            newpay_order_no: required("newpay_order_no")?,
            newpay_refund_order_no: optional("newpay_refund_order_no")?,
            app_id: required("app_id")?,
            amount: required("amount")?,
            currency: required("currency")?,
            result: required("result")?,
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Line(u64),
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Row(number) => write!(f, "row {number}"),
        }
    }
}

struct Row<'a> {
    books: &'a str,
    place: Place,
    columns: &'a Columns,
    field: &'a dyn Fn(usize) -> &'a str,
}

impl Row<'_> {
    fn payment(&self) -> Result<GatewayPayment, PaymentsError> {
        let columns = self.columns;
        let kind: Kind = self.parsed("kind", columns.kind)?;
        let order = self.filled("newpay_order_no", columns.newpay_order_no)?;
        let number = match kind {
            Kind::Payment => order,
            Kind::Refund => self.refund_number()?,
        };
        Ok(GatewayPayment {
            key: ResultKey { kind, number },
            app_id: self.filled("app_id", columns.app_id)?,
            amount: self
                .parsed::<Amount>("amount", columns.amount)?
                .as_str()
                .to_owned(),
            currency: self
                .parsed::<Currency>("currency", columns.currency)?
                .as_str()
                .to_owned(),
            result: self
                .parsed::<TransactionResult>("result", columns.result)?
                .as_str()
                .to_owned(),
            place: self.place.to_string(),
        })
    }

    fn refund_number(&self) -> Result<String, PaymentsError> {
        let column = "newpay_refund_order_no";
        match self.columns.newpay_refund_order_no {
            Some(place) => self.filled(column, place),
            None => {
                let fault = "there is no such column, and a refund is known by it; add it";
                Err(self.fault(column, fault.to_owned()))
            }
        }
    }

    fn filled(&self, column: &'static str, place: usize) -> Result<String, PaymentsError> {
        match (self.field)(place) {
            "" => Err(self.fault(column, "empty; fill it in".to_owned())),
            text => Ok(text.to_owned()),
        }
    }

    fn parsed<T: std::str::FromStr<Err = InvalidValue>>(
        &self,
        column: &'static str,
        place: usize,
    ) -> Result<T, PaymentsError> {
        let parsed = (self.field)(place).parse();
        parsed.map_err(|error: InvalidValue| self.fault(column, error.to_string()))
    }

    fn fault(&self, column: &'static str, fault: String) -> PaymentsError {
        PaymentsError::Field {
            books: self.books.to_owned(),
            place: self.place.to_string(),
            column,
            fault,
        }
    }
}
