//! The URL of a MongoDB: what is asked of the driver, and how the place is shown. A password never is.

use std::time::Duration;

use mongodb::error::ErrorKind;
use mongodb::options::{
    ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};

use crate::kernel::error::{Error, Kind, Result};

/// The database of a URL that names none.
const DATABASE: &str = "drip";
/// How long a primary is looked for, and a connection made, where the URL says nothing else. The
/// driver takes a server for lost that is silent for as long as a connection may take.
const SELECTION: Duration = Duration::from_secs(3);
const CONNECTION: Duration = Duration::from_secs(5);
/// How long the names of servers are looked up.
const LOOK_UP: Duration = Duration::from_secs(5);

/// What a URL says.
pub(super) struct Place {
    pub(super) options: ClientOptions,
    pub(super) database: String,
    /// For people: the servers, and nothing of the user.
    pub(super) shown: String,
}

/// Reads `url`; `mongodb+srv://` asks the name service.
pub(super) async fn read(url: &str) -> Result<Place> {
    let parsed = tokio::time::timeout(LOOK_UP, async { ClientOptions::parse(url).await });
    let mut options = match parsed.await {
        Ok(Ok(options)) => options,
        Ok(Err(error)) => return Err(unreadable(&error.kind)),
        Err(_late) => return Err(not_found("the name service does not answer")),
    };
    options.app_name.get_or_insert_with(|| "drip".to_owned());
    options.server_selection_timeout.get_or_insert(SELECTION);
    options.connect_timeout.get_or_insert(CONNECTION);
    // What a URL may say against these would break what records promise.
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.read_concern = Some(ReadConcern::majority());
    let mut durable = WriteConcern::majority();
    durable.journal = Some(true);
    options.write_concern = Some(durable);
    let database = options.default_database.clone().unwrap_or_else(|| DATABASE.to_owned());
    let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
    let shown = format!("MongoDB at {}", hosts.join(", "));
    Ok(Place { options, database, shown })
}

/// What the driver says of a URL it cannot read may hold parts of the password: none of it is shown.
fn unreadable(kind: &ErrorKind) -> Error {
    match kind {
        ErrorKind::DnsResolve { message, .. } => not_found(message),
        _ => Error::new(
            Kind::Config,
            "bad_records_url",
            "the URL of MongoDB cannot be read: write \
             `mongodb://user:password@host:port/database?authSource=admin`, with each of `:/?#[]@%` \
             in the user and the password as `%3A`, `%2F` and so on, and only options that MongoDB \
             knows",
        ),
    }
}

fn not_found(why: &str) -> Error {
    let detail = format!("the servers of the URL of MongoDB cannot be looked up: {why}");
    Error::new(Kind::Unavailable, "store_away", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn error(url: &str) -> Error {
        read(url).await.err().unwrap()
    }

    #[tokio::test]
    async fn a_url_says_where_and_its_user_is_not_shown() {
        let place =
            read("mongodb://ada:s3cret@db-1,db-2:2717/cards?authSource=admin").await.unwrap();
        assert_eq!(place.database, "cards");
        assert_eq!(place.shown, "MongoDB at db-1:27017, db-2:2717");
        assert_eq!(read("mongodb://db").await.unwrap().database, "drip");
    }

    #[tokio::test]
    async fn a_url_cannot_weaken_what_is_promised() {
        let url = "mongodb://db/?readPreference=secondary&w=1&journal=false&readConcernLevel=local";
        let options = read(url).await.unwrap().options;
        assert_eq!(options.write_concern.as_ref().unwrap().journal, Some(true));
        assert_eq!(options.write_concern.unwrap().w, WriteConcern::majority().w);
        assert_eq!(options.read_concern.unwrap(), ReadConcern::majority());
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        assert_eq!(options.selection_criteria, Some(primary));
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_read_gives_nothing_away() {
        for url in [
            "mongodb://ada:s3/cret@db:27017/x",
            "mongodb://ada:s3cret@db:port/x",
            "mongodb://ada:s3cret@/x",
            "mongodb://ada:s3cret",
            "mongodb://ada:%zs3cret@db/x",
            "mongodb://ada:s3cret@db/x?socketTimeoutMS=s3cret",
        ] {
            let refused = error(url).await;
            assert_eq!(
                (refused.kind(), refused.code()),
                (Kind::Config, "bad_records_url"),
                "{url}"
            );
            let told = format!("{refused} {refused:?}");
            assert!(!told.contains("s3") && !told.contains("ada"), "{url}: {told}");
        }
    }
}
