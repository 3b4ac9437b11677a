//! The collections on the MongoDB server where Drip 0.1 kept them. Only read, never written.

use std::future::Future;
use std::io::IsTerminal as _;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::error::{Error as Fault, ErrorKind};
use mongodb::options::{AuthMechanism, ClientOptions, Credential};
use mongodb::{Client, Database};

use super::bson::extended;
use crate::fiche::old::merge::{Collection, Merge};
use crate::kernel::cli::Output;
use crate::kernel::{Error, Kind, Result};

/// The databases of the original: where its modules wrote, and what its web pages read.
const DATABASES: [&str; 2] = ["fiche", "drip"];
/// How long the server may take for one answer; the driver itself would wait for ever.
const PATIENCE: Duration = Duration::from_mins(1);
/// Codes with which a server says that it does not let someone in, or not do that.
const DENIED: [i32; 2] = [13, 18];

/// Reads every collection; answers where it was found, without the password.
pub(super) async fn read(url: &str, merge: &mut Merge, out: Output) -> Result<String> {
    let mut mongo = Mongo { secret: password(url) };
    let mut options = mongo.wait(async { ClientOptions::parse(url).await }).await?;
    if let Some(credential) = options.credential.as_mut().filter(|given| lacks_password(given)) {
        let asked = ask_password()?;
        credential.password = Some(asked.clone());
        mongo.secret = Some(asked);
    }
    options.server_selection_timeout.get_or_insert(Duration::from_secs(10));
    options.connect_timeout.get_or_insert(Duration::from_secs(5));
    options.app_name.get_or_insert_with(|| "dripctl".to_owned());
    let named = options.default_database.clone();
    let hosts: Vec<String> = options.hosts.iter().map(ToString::to_string).collect();
    let client = Client::with_options(options).map_err(|fault| mongo.told(&fault))?;
    let (database, collections) = mongo.find(&client, named).await?;
    for collection in collections {
        merge.begin(collection);
        mongo.read_collection(&database, collection, merge, out).await?;
    }
    Ok(format!("mongodb://{}/{}", hosts.join(","), database.name()))
}

/// A server, and the password that nothing said about it may show.
struct Mongo {
    secret: Option<String>,
}

impl Mongo {
    /// The database that has the collections: the one that was named, else one of the original's.
    async fn find(
        &self,
        client: &Client,
        named: Option<String>,
    ) -> Result<(Database, Vec<Collection>)> {
        let names = named.map_or_else(|| DATABASES.map(str::to_owned).to_vec(), |name| vec![name]);
        for name in &names {
            let database = client.database(name);
            let there = self.wait(async { database.list_collection_names().await }).await?;
            let found: Vec<Collection> = Collection::ALL
                .into_iter()
                .filter(|collection| there.iter().any(|name| name == collection.name))
                .collect();
            if !found.is_empty() {
                return Ok((database, found));
            }
        }
        let wanted = Collection::ALL.map(|collection| collection.name).join(", ");
        Err(Error::new(
            Kind::NotFound,
            "no_collections",
            format!(
                "the database {} has none of {wanted}: name the right one in the URL, as in mongodb://host/fiche?authSource=admin",
                names.join(" or ")
            ),
        ))
    }

    async fn read_collection(
        &self,
        database: &Database,
        collection: Collection,
        merge: &mut Merge,
        out: Output,
    ) -> Result<()> {
        let documents = database.collection::<Document>(collection.name);
        let count = self.wait(async { documents.estimated_document_count().await }).await?;
        let bar = out.counting(collection.name, count);
        let mut cursor = self.wait(async { documents.find(doc! {}).batch_size(500).await }).await?;
        let mut at = 0_u64;
        while self.wait(cursor.advance()).await? {
            at += 1;
            merge.take(collection, &format!("document {at}"), extended(cursor.current()));
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Waits for an answer, but not for ever.
    async fn wait<T>(
        &self,
        answer: impl Future<Output = std::result::Result<T, Fault>>,
    ) -> Result<T> {
        match tokio::time::timeout(PATIENCE, Box::pin(answer)).await {
            Ok(answered) => answered.map_err(|fault| self.told(&fault)),
            Err(_elapsed) => Err(Error::new(
                Kind::TimedOut,
                "mongo_silent",
                format!(
                    "MongoDB did not answer within {} seconds; nothing was saved",
                    PATIENCE.as_secs()
                ),
            )),
        }
    }

    fn told(&self, fault: &Fault) -> Error {
        let (kind, code) = match fault.kind.as_ref() {
            ErrorKind::InvalidArgument { .. } => (Kind::Usage, "bad_mongo_url"),
            ErrorKind::Authentication { .. } => (Kind::Denied, "mongo_denied"),
            ErrorKind::Command(refused) if DENIED.contains(&refused.code) => {
                (Kind::Denied, "mongo_denied")
            }
            _ => (Kind::Unavailable, "mongo_unavailable"),
        };
        let mut said = fault.kind.to_string();
        if let Some(secret) = &self.secret {
            said = said.replace(secret, "…");
        }
        Error::new(kind, code, format!("MongoDB: {said}"))
    }
}

/// The password in a URL, as it stands there.
fn password(url: &str) -> Option<String> {
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
fn ask_password() -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::new(
            Kind::Usage,
            "no_password",
            "the URL names a user and no password, and there is no terminal to ask for it: write mongodb://user:password@host/…",
        ));
    }
    let asked = rpassword::prompt_password("Password of MongoDB: ");
    asked.map_err(|source| Error::io("read the password", source))
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
            let refused = read(url, &mut Merge::default(), Output::new(true)).await.unwrap_err();
            let said = refused.to_string();
            assert_eq!(refused.code(), "bad_mongo_url", "{url}: {said}");
            assert!(!said.contains("hunter2") && !said.contains("ter2"), "{said}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_as_such() {
        let url = "mongodb://ada:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=200";
        let refused = read(url, &mut Merge::default(), Output::new(true)).await.unwrap_err();
        assert_eq!(refused.code(), "mongo_unavailable", "{refused}");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}
