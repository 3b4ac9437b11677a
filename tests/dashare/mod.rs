//! DaShare through its routes: channels, grants, data, quotas, usage, SQL.

mod admin;
mod data;
mod quota;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use drip::dashare::{Accounts, Config, Dashare, Parts, RowSource, routes};
use drip::kernel::access::{Caller, Role};
use drip::kernel::clock::ManualClock;
use drip::kernel::records::{MemoryRecords, SharedRecords};
use drip::kernel::table::sql::{Sql, SqlLimits};
use drip::kernel::table::{SqlTable, Table, TableCatalog};
use drip::kernel::{Bus, Result, Time};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Datasets in memory.
#[derive(Clone, Default)]
struct Shelf(Arc<RwLock<HashMap<String, Table>>>);

impl Shelf {
    fn put(&self, name: &str, table: Table) {
        self.0.write().unwrap().insert(name.to_owned(), table);
    }
}

impl TableCatalog for Shelf {
    fn table(&self, name: &str) -> Result<Option<Arc<dyn SqlTable>>> {
        let found = self.0.read().unwrap().get(name).cloned();
        Ok(found.map(|table| Arc::new(table) as Arc<dyn SqlTable>))
    }
}

impl RowSource for Shelf {
    fn open(&self, dataset: &str) -> Result<Option<Arc<dyn SqlTable>>> {
        self.table(dataset)
    }

    fn sql(&self, query: &str, params: &Value, max_rows: usize) -> Result<Table> {
        let limits = SqlLimits { rows: max_rows, ..SqlLimits::default() };
        Sql::new(Arc::new(self.clone())).with_limits(limits).query(query, params)
    }

    fn names(&self) -> Vec<String> {
        self.0.read().unwrap().keys().cloned().collect()
    }
}

struct Known;

impl Accounts for Known {
    fn exists(&self, name: &str) -> Result<bool> {
        Ok(name != "nobody")
    }
}

/// A DaShare over memory, and what it stands on.
struct Stand {
    dashare: Dashare,
    clock: Arc<ManualClock>,
    shelf: Shelf,
}

/// Two turbines, three days, every six hours: 24 rows.
fn scada() -> Table {
    let start = Time::parse("2014-01-01").unwrap();
    let rows: Vec<Value> = (0..12_i64)
        .flat_map(|step| {
            ["R1", "R2"].map(|name| {
                let time = Time(start.0 + step * 6 * 3_600_000_000);
                json!({"turbine": name, "time": time, "power": step, "wind": 0.5, "secret": "x"})
            })
        })
        .collect();
    Table::from_rows(&rows).unwrap()
}

impl Stand {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let records: SharedRecords = Arc::new(MemoryRecords::new());
        let clock = ManualClock::at(Time::parse("2014-03-30T10:00:00Z").unwrap());
        let shelf = Shelf::default();
        shelf.put("scada@2014", scada());
        let dashare = Dashare::open(Parts {
            records,
            clock: clock.clone(),
            bus: Bus::new(),
            source: Arc::new(shelf.clone()),
            accounts: Some(Arc::new(Known)),
            config,
        });
        Self { dashare, clock, shelf }
    }

    /// With the channel `wind/scada`, granted to `ada`.
    async fn open() -> Self {
        let stand = Self::new();
        stand.put(CHANNEL, channel()).await.expect(201);
        stand.put(GRANT, json!({})).await.expect(201);
        stand
    }

    async fn call_as(
        &self,
        who: Caller,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(who, Request::builder().method(method).uri(path).body(body).unwrap()).await
    }

    async fn send(&self, who: Caller, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(who);
        let response = routes(self.dashare.clone()).into_router().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, headers, body: body.to_vec() }
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.call_as(publisher(), Method::PUT, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call_as(publisher(), Method::GET, path, None).await
    }

    /// Data of `wind/scada` as `ada` gets them.
    async fn data(&self, query: &str) -> Answer {
        self.call_as(ada(), Method::GET, &format!("{CHANNEL}/data?{query}"), None).await
    }

    async fn quota(&self, unit: &str, limit: u64, period: &str) -> Answer {
        let body = json!({"channel": "wind/scada", "unit": unit, "limit": limit, "period": period});
        self.put(QUOTA, body).await
    }
}

const CHANNEL: &str = "/api/v1/channels/wind/scada";
const GRANT: &str = "/api/v1/channels/wind/scada/grants/ada";
const QUOTA: &str = "/api/v1/users/ada/quota";

fn channel() -> Value {
    json!({
        "dataset": "scada@2014", "time_column": "time", "entity_column": "turbine",
        "columns": ["power", "wind"], "unit": "rows",
    })
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    fn items(&self) -> Vec<Value> {
        assert_eq!(self.status.as_u16(), 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()["items"].as_array().unwrap().clone()
    }

    fn refusal(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), code)
    }

    fn pointers(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|fault| fault["pointer"].as_str().unwrap().to_owned()).collect()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

fn publisher() -> Caller {
    Caller::new("pia", Role::Publisher)
}

fn viewer() -> Caller {
    Caller::new("vic", Role::Viewer)
}

fn ada() -> Caller {
    Caller::new("ada", Role::Consumer)
}

fn bob() -> Caller {
    Caller::new("bob", Role::Consumer)
}
