//! The connection to MongoDB: a runtime of its own, the first greeting, and the door from threads that
//! may block to calls that are async.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{DateTime, doc};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use super::error::{Trouble, denied, is_away};
use super::server::{Server, within};
use super::{hello, url};
use crate::kernel::error::{Error, Kind, Result};

/// How long the first greeting may take, with looking the server up.
const GREETING: Duration = Duration::from_secs(8);
/// How long its one question may take.
const HELLO: Duration = Duration::from_secs(5);

/// The runtime, and what calls need.
pub(super) struct Link {
    /// Taken when it is dropped: ending a runtime the plain way may not be done on one.
    runtime: Option<Runtime>,
    pub(super) server: Arc<Server>,
}

impl Link {
    /// Connects, and makes sure that the server can hold records.
    pub(super) fn open(url: &str, module: &str) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("mongodb")
            .enable_all()
            .build()
            .map_err(|source| Error::io("start a runtime for MongoDB", source))?;
        let (url, module) = (url.to_owned(), module.to_owned());
        let greeting = async move {
            let connecting = tokio::time::timeout(GREETING, connect(&url, &module));
            connecting.await.unwrap_or_else(|_late| Err(not_reached("MongoDB", None)))
        };
        let server = match on(runtime.handle(), greeting) {
            Ok(server) => Arc::new(server),
            Err(refused) => {
                runtime.shutdown_background();
                return Err(refused);
            }
        };
        let watched = server.clone();
        runtime.spawn(async move { watched.watch().await });
        Ok(Self { runtime: Some(runtime), server })
    }

    /// Runs a call to its end, from any thread; refuses at once while the server is known to be away.
    pub(super) fn run<T, F>(&self, call: impl FnOnce(Arc<Server>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        self.server.health()?;
        let place = self.server.place.clone();
        let outcome = on(self.handle()?, call(self.server.clone()));
        outcome.map_err(|trouble| trouble.tell(&place))
    }

    /// The runtime, for a thread that is none of its own.
    pub(super) fn handle(&self) -> Result<&Handle> {
        let runtime = self.runtime.as_ref().map(Runtime::handle);
        runtime.ok_or_else(|| Error::internal("the runtime of MongoDB is gone"))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs a future on a runtime and waits for it here, which may be a thread of another runtime.
fn on<T: FromPanic + Send + 'static>(
    runtime: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    let (tell, told) = sync_channel(1);
    runtime.spawn(async move {
        let _gone = tell.send(future.await);
    });
    told.recv().unwrap_or_else(|_panicked| T::from_panic())
}

/// What a call answers that did not come to its end.
trait FromPanic {
    fn from_panic() -> Self;
}

impl<T, E: From<Error>> FromPanic for Result<T, E> {
    fn from_panic() -> Self {
        Err(Error::internal("a call to MongoDB panicked").into())
    }
}

async fn connect(url: &str, module: &str) -> Result<Server> {
    let url::Place { options, database, shown } = url::read(url).await?;
    let client = Client::with_options(options).map_err(|error| not_reached(&shown, Some(error)))?;
    let database = client.database(&database);
    let greeting = within(HELLO, database.run_command(doc! { "hello": 1 })).await;
    let greeting = greeting.map_err(|trouble| opening(trouble, &shown))?;
    if let Some(why) = hello::refusal(&greeting) {
        let detail = format!("{shown} cannot keep records: {why}");
        return Err(Error::new(Kind::Config, "no_transactions", detail));
    }
    let opened = greeting.get_datetime("localTime").copied().unwrap_or(DateTime::MIN);
    Ok(Server {
        rows: database.collection(&format!("{module}.rows")),
        commits: database.collection(&format!("{module}.commits")),
        client,
        database,
        place: shown,
        opened,
        away: watch::channel(None).0,
    })
}

/// The error of a start: a wrong user is a wrong setting then.
pub(super) fn opening(trouble: Trouble, place: &str) -> Error {
    match trouble {
        denial if denial.is_denied() => denied(place, Kind::Config),
        Trouble::Driver(error) => not_reached(place, Some(error)),
        Trouble::Late(_) => not_reached(place, None),
        other => other.tell(place),
    }
}

fn not_reached(place: &str, error: Option<mongodb::error::Error>) -> Error {
    let told = match error {
        Some(error) => Trouble::from(error).tell(place),
        None => is_away(format!("{place} does not answer")),
    };
    let detail = format!("{}: is it running, and does the URL name it rightly?", told.detail());
    Error::new(told.kind(), told.code(), detail).caused_by(told)
}
