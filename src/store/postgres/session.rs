//! The rules' session on a connection to PostgreSQL.

use std::error::Error;
use std::sync::Arc;

use deadpool_postgres::{GenericClient, Transaction};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::connection::{Lent, Pool};
use crate::store::StoreError;
use crate::store::session::{Dialect, Row, Session, Value};

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql(ty, out),
            Self::Real(number) => number.to_sql(ty, out),
            Self::Text(bytes) => std::str::from_utf8(bytes)?.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        <i64 as ToSql>::accepts(ty) || <f64 as ToSql>::accepts(ty) || <&str as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *ty {
            Type::BOOL => Self::Integer(bool::from_sql(ty, raw)?.into()),
            Type::INT2 => Self::Integer(i16::from_sql(ty, raw)?.into()),
            Type::INT4 => Self::Integer(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => Self::Integer(i64::from_sql(ty, raw)?),
            Type::FLOAT8 => Self::Real(f64::from_sql(ty, raw)?),
            _ => Self::Text(<&str>::from_sql(ty, raw)?.into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        let known = [Type::BOOL, Type::INT2, Type::INT4, Type::INT8, Type::FLOAT8];
        known.contains(ty) || <&str as FromSql<'_>>::accepts(ty)
    }
}

fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as _).collect()
}

async fn query(
    client: &impl GenericClient,
    sql: &str,
    values: &[Value],
) -> Result<Vec<Row>, StoreError> {
    let statement = client
        .prepare_cached(&Dialect::Postgres.translate(sql))
        .await?;
    let names = statement.columns().iter().map(|column| column.name());
    let columns: Arc<[String]> = names.map(str::to_owned).collect();
    let found = client.query(&statement, &parameters(values)).await?;
    found
        .iter()
        .map(|row| {
            let values = (0..row.len()).map(|at| row.try_get(at));
            Ok(Row::new(&columns, values.collect::<Result<_, _>>()?))
        })
        .collect()
}

async fn execute(
    client: &impl GenericClient,
    sql: &str,
    values: &[Value],
) -> Result<u64, StoreError> {
    let statement = client
        .prepare_cached(&Dialect::Postgres.translate(sql))
        .await?;
    Ok(client.execute(&statement, &parameters(values)).await?)
}

impl Session for Transaction<'_> {
    const DIALECT: Dialect = Dialect::Postgres;

    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        query(self, sql, values).await
    }

    async fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        execute(self, sql, values).await
    }
}

impl Session for Lent {
    const DIALECT: Dialect = Dialect::Postgres;

    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        query(&**self, sql, values).await
    }

    async fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        execute(&**self, sql, values).await
    }
}

/// Each statement by itself, on any connection.
impl Session for Pool {
    const DIALECT: Dialect = Dialect::Postgres;

    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let client = self.client().await?;
        client.within(query(&*client, sql, values)).await
    }

    async fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        let client = self.client().await?;
        client.within(execute(&*client, sql, values)).await
    }
}
