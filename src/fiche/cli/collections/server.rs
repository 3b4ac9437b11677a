//! The collections on the MongoDB server where Drip 0.1 kept them. Only read, never written.

use mongodb::Database;
use mongodb::bson::{Document, doc};

use crate::fiche::old::merge::{Collection, Merge};
use crate::kernel::cli::Output;
use crate::kernel::mongo::bson::extended;
use crate::kernel::mongo::{Mongo, Password};
use crate::kernel::{Error, Kind, Result};

/// The databases of the original: where its modules wrote, and what its web pages read.
const DATABASES: [&str; 2] = ["fiche", "drip"];

/// Reads every collection; answers where it was found, without the password.
pub(super) async fn read(url: &str, merge: &mut Merge, out: Output) -> Result<String> {
    let mongo = Mongo::open(url, "dripctl", Password::Asked).await?;
    let (database, collections) = find(&mongo).await?;
    for collection in collections {
        merge.begin(collection);
        read_collection(&mongo, &database, collection, merge, out).await?;
    }
    Ok(format!("{}/{}", mongo.place(), database.name()))
}

/// The database that has the collections: the one that was named, else one of the original's.
async fn find(mongo: &Mongo) -> Result<(Database, Vec<Collection>)> {
    let named = mongo.database();
    let names = named.map_or_else(|| DATABASES.to_vec(), |name| vec![name]);
    for name in &names {
        let database = mongo.client().database(name);
        let there = mongo.wait(async { database.list_collection_names().await }).await?;
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
    mongo: &Mongo,
    database: &Database,
    collection: Collection,
    merge: &mut Merge,
    out: Output,
) -> Result<()> {
    let documents = database.collection::<Document>(collection.name);
    let count = mongo.wait(async { documents.estimated_document_count().await }).await?;
    let bar = out.counting(collection.name, count);
    let mut cursor = mongo.wait(async { documents.find(doc! {}).batch_size(500).await }).await?;
    let mut at = 0_u64;
    while mongo.wait(cursor.advance()).await? {
        at += 1;
        merge.take(collection, &format!("document {at}"), extended(cursor.current()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}
