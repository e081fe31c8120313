//! Lists of callbacks by filter, page by page, along an index.
//!
//! What an index can't tell is looked for in windows of it, one statement each. So a rare match costs
//! time, but no statement takes long, and other readers have their turn between. Nothing that matches is
//! left out: a request that has looked at its fill answers where to go on.

use super::list_path::Path;
use crate::domain::Timestamp;
use crate::store::session::{Row, Session, Value};
use crate::store::{
    AppId, CallbackRow, Cursor, Filter, ListPage, ListedCallback, Origin, ShownState, StoreError,
};

/// Rows of an index that one statement looks through.
const WINDOW: usize = 10_000;

/// Windows that one request looks through.
const WINDOWS_MAX: usize = 50;

/// A condition up to its value: `app_id =`, or all of it.
type Condition = (&'static str, Option<Value>);

/// A row's place: the values of [`List::columns`].
type Place = Vec<Value>;

/// A list's statements, made from its filter.
#[derive(Debug)]
struct List {
    path: Path,
    /// The columns that order it.
    columns: Vec<&'static str>,
    /// What the index tells.
    range: Vec<Condition>,
    /// What each row has to be asked.
    rest: Vec<Condition>,
    /// The same of its newest attempt.
    of_attempt: Vec<Condition>,
}

/// A statement that is being written.
#[derive(Debug, Default)]
struct Statement {
    sql: String,
    values: Vec<Value>,
}

impl Statement {
    fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    fn bind(&mut self, value: Value) {
        self.values.push(value);
        self.sql.push('?');
        self.sql.push_str(&self.values.len().to_string());
    }

    fn and(&mut self, conditions: &[Condition]) {
        for (comparison, value) in conditions {
            self.push(" AND ");
            self.push(comparison);
            if let Some(value) = value {
                self.push(" ");
                self.bind(value.clone());
            }
        }
    }

    fn and_place(&mut self, columns: &[&str], comparison: &str, place: &Place) {
        if place.is_empty() {
            return;
        }
        self.push(&format!(" AND ({}) {comparison} (", columns.join(", ")));
        for (number, value) in place.iter().enumerate() {
            self.push(if number == 0 { "" } else { ", " });
            self.bind(value.clone());
        }
        self.push(")");
    }
}

impl List {
    fn new(filter: &Filter) -> Self {
        let path = Path::of(filter);
        let app: Option<Value> = filter.app_id.as_deref().map(Value::from);
        let origin: Option<Value> = filter.origin.as_deref().map(origin_value);
        let columns = match path {
            Path::Due => {
                let by_app = app.is_none().then_some("app_id");
                let by_origin = (app.is_none() || origin.is_none()).then_some("origin");
                let columns = [by_app, by_origin, Some("next_attempt_at"), Some("id")];
                columns.into_iter().flatten().collect()
            }
            Path::App | Path::Id => vec!["id"],
            _ => vec![path.key(), "id"],
        };
        let mut list = Self {
            path,
            columns,
            range: Vec::new(),
            rest: Vec::new(),
            of_attempt: Vec::new(),
        };
        let has_app = app.is_some();
        list.holds(matches!(path, Path::Due | Path::App), "app_id =", app);
        list.holds(path == Path::Due && has_app, "origin =", origin);
        let by_created = path == Path::Created;
        list.holds(by_created, "created_at >=", filter.since.map(Value::from));
        list.holds(by_created, "created_at <", filter.until.map(Value::from));
        if filter.state == Some(ShownState::Delivered) && !matches!(path, Path::Finished(_)) {
            list.rest.push(("state = 'delivered'", None));
        }
        let outcome = filter.outcome.as_deref().map(Value::from);
        list.holds(false, "last_outcome =", outcome);
        if let Some(status) = filter.http_status {
            let status = i64::from(status).into();
            list.of_attempt.push(("a.http_status =", Some(status)));
        }
        if let Some(detail) = &filter.detail {
            let detail = containing(detail).into();
            list.of_attempt
                .push(("a.detail {LIKE|ILIKE}", Some(detail)));
        }
        list
    }

    fn holds(&mut self, by_index: bool, comparison: &'static str, value: Option<Value>) {
        if value.is_some() {
            let conditions = if by_index {
                &mut self.range
            } else {
                &mut self.rest
            };
            conditions.push((comparison, value));
        }
    }

    fn order(&self) -> String {
        let direction = if self.path.is_descending() {
            " DESC"
        } else {
            ""
        };
        let columns = self
            .columns
            .iter()
            .map(|column| format!("{column}{direction}"));
        columns.collect::<Vec<_>>().join(", ")
    }

    /// The last row of the window after `after`: nothing if fewer rows are left.
    fn window_end(&self, after: &Place) -> Statement {
        let mut statement = Statement::default();
        let key = self.path.key();
        statement.push(&format!(
            "SELECT {key} AS place_key, id, app_id, origin FROM callback_queue "
        ));
        self.stretch(&mut statement, after, &Vec::new());
        let order = self.order();
        let skipped = WINDOW - 1;
        statement.push(&format!(" ORDER BY {order} LIMIT 1 OFFSET {skipped}"));
        statement
    }

    /// The index's rows after one place, up to and with another.
    fn stretch(&self, statement: &mut Statement, after: &Place, to: &Place) {
        statement.push(&self.path.rows());
        statement.and(&self.range);
        let (beyond, within) = if self.path.is_descending() {
            ("<", ">=")
        } else {
            (">", "<=")
        };
        statement.and_place(&self.columns, beyond, after);
        statement.and_place(&self.columns, within, to);
    }

    /// At most `limit` callbacks of a window.
    fn window(&self, after: &Place, to: &Place, limit: usize) -> Statement {
        let order = format!(" ORDER BY {} LIMIT ", self.order());
        let mut statement = Statement::default();
        statement.push(
            "SELECT q.*, a.http_status AS last_http_status, a.detail AS last_detail, \
               a.remote_addr AS last_remote_addr \
             FROM (SELECT * FROM callback_queue ",
        );
        self.stretch(&mut statement, after, to);
        statement.and(&self.rest);
        // Unless it decides, the newest attempt is looked up for the rows alone that are returned.
        if self.of_attempt.is_empty() {
            statement.push(&order);
            statement.bind(limit.into());
        }
        statement.push(
            ") q LEFT JOIN callback_attempt a \
               ON a.callback_id = q.id AND a.seq = q.attempt_seq WHERE TRUE",
        );
        statement.and(&self.of_attempt);
        statement.push(&order);
        statement.bind(limit.into());
        statement
    }

    fn place(&self, cursor: Cursor, app_id: &AppId, origin: &Origin) -> Place {
        let value = |column: &&str| match *column {
            "app_id" => Value::Text(app_id.as_bytes().to_vec()),
            "origin" => Value::Text(origin.as_bytes().to_vec()),
            "id" => cursor.id.into(),
            _ => cursor.key.into(),
        };
        self.columns.iter().map(value).collect()
    }

    fn cursor(&self, row: &CallbackRow) -> Cursor {
        let moment = match self.path {
            Path::Due => row.next_attempt_at,
            Path::InFlight => row.leased_until,
            Path::Finished(_) => row.finished_at,
            Path::Created => Some(row.created_at),
            Path::App | Path::Id => None,
        };
        Cursor {
            key: moment.map_or(row.id.0, Timestamp::as_millis),
            id: row.id,
        }
    }

    fn needs_windows(&self) -> bool {
        !(self.rest.is_empty() && self.of_attempt.is_empty())
    }
}

fn origin_value(text: &str) -> Value {
    match Origin::of_url(text) {
        Some(origin) => Value::Text(origin.as_bytes().to_vec()),
        None => text.into(),
    }
}

/// A pattern for texts that contain `text`.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        // `_` stands for any one character.
        pattern.push(if matches!(c, '%' | '\\') { '_' } else { c });
    }
    pattern + "%"
}

/// The next page of a list.
pub(super) async fn list<S: Session>(session: &S, filter: &Filter) -> Result<ListPage, StoreError> {
    let mut page = ListPage::default();
    let texts = [
        &filter.app_id,
        &filter.origin,
        &filter.outcome,
        &filter.detail,
    ];
    let mut texts = texts.into_iter().flatten();
    if filter.limit == 0 || texts.any(|text| !S::DIALECT.can_hold(text)) {
        return Ok(page);
    }
    let list = List::new(filter);
    let mut after = match filter.after {
        Some(cursor) => place_of(session, &list, cursor).await?,
        None => Place::new(),
    };
    for _ in 0..WINDOWS_MAX {
        let end = match list.needs_windows() {
            true => window_end(session, &list, &after).await?,
            false => None,
        };
        let to = end
            .as_ref()
            .map_or_else(Place::new, |(place, _)| place.clone());
        // One more than wanted tells whether there are more.
        let limit = (filter.limit - page.rows.len()).saturating_add(1);
        let statement = list.window(&after, &to, limit);
        for row in session.query(&statement.sql, &statement.values).await? {
            page.rows.push(listed(&row)?);
        }
        if page.rows.len() > filter.limit {
            page.rows.truncate(filter.limit);
            page.next = page.rows.last().map(|row| list.cursor(&row.callback));
            return Ok(page);
        }
        match end {
            Some((place, cursor)) => {
                after = place;
                page.next = Some(cursor);
            }
            None => {
                page.next = None;
                return Ok(page);
            }
        }
    }
    Ok(page)
}

async fn window_end(
    session: &impl Session,
    list: &List,
    after: &Place,
) -> Result<Option<(Place, Cursor)>, StoreError> {
    let statement = list.window_end(after);
    let found = session.query(&statement.sql, &statement.values).await?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    let cursor = Cursor {
        key: row.get("place_key")?,
        id: row.get("id")?,
    };
    let place = list.place(cursor, &row.get("app_id")?, &row.get("origin")?);
    Ok(Some((place, cursor)))
}

/// A list by endpoint goes on after the endpoint of the cursor's callback, which never changes. If that
/// callback was pruned meanwhile, the list begins again.
async fn place_of(
    session: &impl Session,
    list: &List,
    cursor: Cursor,
) -> Result<Place, StoreError> {
    let sql = "SELECT app_id, origin FROM callback_queue WHERE id = ?1";
    if list.path != Path::Due {
        return Ok(list.place(cursor, &AppId::new(""), &Origin::new("")));
    }
    match session.query(sql, &[cursor.id.into()]).await?.first() {
        Some(row) => Ok(list.place(cursor, &row.get("app_id")?, &row.get("origin")?)),
        None => Ok(Place::new()),
    }
}

fn listed(row: &Row) -> Result<ListedCallback, StoreError> {
    Ok(ListedCallback {
        callback: CallbackRow::read(row)?,
        last_http_status: row.get("last_http_status")?,
        last_detail: row.get("last_detail")?,
        last_remote_addr: row.get("last_remote_addr")?,
    })
}

/// The statements that a list runs first, for tests of the planner.
#[cfg(test)]
pub(in crate::store) fn statements(filter: &Filter) -> [String; 2] {
    let list = List::new(filter);
    let window = list.window(&Place::new(), &Place::new(), 1);
    [list.window_end(&Place::new()).sql, window.sql]
}
