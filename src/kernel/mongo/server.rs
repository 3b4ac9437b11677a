//! A connection to a MongoDB server that is somebody else's.

use std::future::Future;
use std::time::Duration;

use mongodb::Client;
use mongodb::error::{Error as Fault, ErrorKind};
use mongodb::options::{AuthMechanism, ClientOptions, Credential, WriteConcern};

use crate::kernel::error::{Error, Kind, Result};

/// How long the server may take for one answer; the driver itself would wait for ever.
const PATIENCE: Duration = Duration::from_mins(1);
const SELECTION: Duration = Duration::from_secs(10);
const CONNECTION: Duration = Duration::from_secs(5);
/// Codes with which a server says that it does not let someone in, or not do that.
const DENIED: [i32; 2] = [13, 18];

/// Where the password comes from that a URL leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// There must be one.
    InTheUrl,
    /// A person is asked for it, at a terminal.
    #[cfg(feature = "cli")]
    Asked,
}

/// A server, and the password that nothing said about it may show.
#[derive(Clone)]
pub struct Mongo {
    client: Client,
    named: Option<String>,
    shown: String,
    secret: Option<String>,
}

impl std::fmt::Debug for Mongo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mongo({})", self.shown)
    }
}

impl Mongo {
    /// Reads the URL and prepares the connection; the server is met by the first call.
    pub async fn open(url: &str, app: &str, password: Password) -> Result<Self> {
        let mut secret = password_of(url);
        let parsed = within(async { ClientOptions::parse(url).await }, secret.as_deref());
        let mut options = parsed.await?;
        if let Some(credential) = options.credential.as_mut().filter(|given| lacks_password(given))
        {
            let asked = ask(password)?;
            credential.password = Some(asked.clone());
            secret = Some(asked);
        }
        options.server_selection_timeout.get_or_insert(SELECTION);
        options.connect_timeout.get_or_insert(CONNECTION);
        options.app_name.get_or_insert_with(|| app.to_owned());
        // What is acknowledged must be durable there, whatever the URL says.
        let mut durable = WriteConcern::majority();
        durable.journal = Some(true);
        options.write_concern = Some(durable);
        let named = options.default_database.clone();
        let hosts: Vec<String> = options.hosts.iter().map(ToString::to_string).collect();
        let client =
            Client::with_options(options).map_err(|fault| told(&fault, secret.as_deref()))?;
        Ok(Self { client, named, shown: format!("mongodb://{}", hosts.join(",")), secret })
    }

    /// The driver's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The database that the URL names.
    pub fn database(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// The servers, and nothing of the user.
    pub fn place(&self) -> &str {
        &self.shown
    }

    /// Waits for an answer, but not for ever.
    pub async fn wait<T>(
        &self,
        answer: impl Future<Output = std::result::Result<T, Fault>>,
    ) -> Result<T> {
        within(answer, self.secret.as_deref()).await
    }

    /// What the driver says, without the password.
    pub fn told(&self, fault: &Fault) -> Error {
        told(fault, self.secret.as_deref())
    }
}

async fn within<T>(
    answer: impl Future<Output = std::result::Result<T, Fault>>,
    secret: Option<&str>,
) -> Result<T> {
    match tokio::time::timeout(PATIENCE, Box::pin(answer)).await {
        Ok(answered) => answered.map_err(|fault| told(&fault, secret)),
        Err(_elapsed) => {
            let detail = format!("MongoDB did not answer within {} seconds", PATIENCE.as_secs());
            Err(Error::new(Kind::TimedOut, "mongo_silent", detail))
        }
    }
}

fn told(fault: &Fault, secret: Option<&str>) -> Error {
    let (kind, code) = match fault.kind.as_ref() {
        ErrorKind::InvalidArgument { .. } => (Kind::Usage, "bad_mongo_url"),
        ErrorKind::Authentication { .. } => (Kind::Denied, "mongo_denied"),
        ErrorKind::Command(refused) if DENIED.contains(&refused.code) => {
            (Kind::Denied, "mongo_denied")
        }
        _ => (Kind::Unavailable, "mongo_unavailable"),
    };
    let mut said = fault.kind.to_string();
    if let Some(secret) = secret {
        said = said.replace(secret, "…");
    }
    Error::new(kind, code, format!("MongoDB: {said}"))
}

/// The password in a URL, as it stands there.
fn password_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (credentials, _) = rest.rsplit_once('@')?;
    let (_, password) = credentials.split_once(':')?;
    (!password.is_empty()).then(|| password.to_owned())
}

/// Whether someone is named who must show a password, and none is given.
fn lacks_password(credential: &Credential) -> bool {
    let by_password = matches!(
        credential.mechanism,
        None | Some(AuthMechanism::ScramSha1 | AuthMechanism::ScramSha256)
    );
    by_password && credential.username.is_some() && credential.password.is_none()
}

/// A password that is asked for stands in no list of processes and in no history of a shell.
fn ask(password: Password) -> Result<String> {
    match password {
        #[cfg(feature = "cli")]
        Password::Asked if std::io::IsTerminal::is_terminal(&std::io::stdin()) => {
            let asked = rpassword::prompt_password("Password of MongoDB: ");
            asked.map_err(|source| Error::io("read the password", source))
        }
        _ => Err(Error::new(
            Kind::Usage,
            "no_password",
            "the URL names a user and no password, and there is no terminal to ask for it: write mongodb://user:password@host/…",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_is_none_is_refused_without_its_password() {
        for url in [
            "mongodb://ada:hunter2@",
            "mongodb://ada:hunter2@host:port/",
            "mongodb://ada:hun%ter2@host/",
            "mongodb://ada:hunter2@host/?authMechanism=hunter2",
        ] {
            let refused = Mongo::open(url, "drip", Password::InTheUrl).await.unwrap_err();
            let said = refused.to_string();
            assert_eq!(refused.code(), "bad_mongo_url", "{url}: {said}");
            assert!(!said.contains("hunter2") && !said.contains("ter2"), "{said}");
        }
        let refused = Mongo::open("mongodb://ada@host/", "drip", Password::InTheUrl).await;
        assert_eq!(refused.unwrap_err().code(), "no_password");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_as_such() {
        let url = "mongodb://ada:hunter2@127.0.0.1:1/x?serverSelectionTimeoutMS=200";
        let mongo = Mongo::open(url, "drip", Password::InTheUrl).await.unwrap();
        assert_eq!((mongo.database(), mongo.place()), (Some("x"), "mongodb://127.0.0.1:1"));
        assert!(!format!("{mongo:?}").contains("hunter2"));
        let names = mongo.wait(async { mongo.client().list_database_names().await }).await;
        let refused = names.unwrap_err();
        assert_eq!(refused.code(), "mongo_unavailable", "{refused}");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}
