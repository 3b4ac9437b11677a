//! The routes of cask.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::Cask;
#[cfg(feature = "s3")]
use super::keys::{KeyInfo, MadeKey, NewKey};
use super::model::{
    BucketInfo, BucketSettings, Kept, ObjectInfo, ObjectList, PackageInfo, PackageItem, VersionList,
};
use super::package::{MEDIA_TYPE, Metadata};
use crate::kernel::Result;
use crate::kernel::access::{Caller, Needs};
use crate::kernel::http::{
    JsonBody, List, PageParams, Params, Parted, Route, Routes, delete, get, off_thread, post, put,
};

mod headers;
#[cfg(feature = "s3")]
mod keys;
mod objects;
mod packages;
mod serve;
mod verify;

const READ: Needs = Needs::Read("cask");
const WRITE: Needs = Needs::Write("cask");
const BUCKET: &str = "/api/v1/buckets/{bucket}";
const OBJECT: &str = "/api/v1/objects/{bucket}/{*key}";
const VERSION: &str = "a version of it; the newest unless one is named";
const PACKAGE: &str = "/api/v1/packages/{name}/{version}";

/// The table of routes over a cask.
pub fn routes(cask: Cask) -> Routes {
    let table = Routes::new("cask");
    let table = packages_table(objects_table(buckets_table(table)));
    #[cfg(feature = "s3")]
    let table = keys_table(table);
    table.with_state(cask)
}

fn buckets_table(table: Routes<Cask>) -> Routes<Cask> {
    table
        .add(
            get("/api/v1/buckets", READ, list_buckets)
                .says("Buckets in order of their names")
                .paged()
                .answers::<List<BucketInfo>>(200),
        )
        .add(
            get(BUCKET, READ, get_bucket)
                .says("A bucket: what it allows and what it holds")
                .answers::<BucketInfo>(200),
        )
        .add(
            put(BUCKET, WRITE, put_bucket)
                .says("Make a bucket or change what it allows")
                .takes::<BucketSettings>()
                .answers::<BucketInfo>(200)
                .answers::<BucketInfo>(201),
        )
        .add(delete(BUCKET, WRITE, delete_bucket).says("Delete an empty bucket").answers::<()>(204))
}

fn objects_table(table: Routes<Cask>) -> Routes<Cask> {
    table
        .add(
            get("/api/v1/objects/{bucket}", READ, objects::list)
                .says("Objects in order of their keys")
                .query("prefix", "only keys that start so")
                .query("delimiter", "keys with this behind the prefix are shown as one prefix")
                .paged()
                .answers::<ObjectList>(200),
        )
        .add(
            put(OBJECT, WRITE, objects::put)
                .says("Put an object; `Drip-Sha256` is checked, `Drip-Meta-…` is kept")
                .takes_bytes("application/octet-stream")
                .answers::<ObjectInfo>(200)
                .answers::<ObjectInfo>(201),
        )
        .add(
            bytes_route(get(OBJECT, READ, objects::get))
                .says("An object's bytes, or a range")
                .query("version", VERSION),
        )
        .add(
            delete(OBJECT, WRITE, objects::delete)
                .says("Delete an object")
                .query("version", VERSION)
                .answers::<()>(204),
        )
        .add(
            post("/api/v1/objects:copy", WRITE, objects::copy)
                .says("Copy an object without writing its bytes again")
                .takes::<objects::FromTo>()
                .answers::<ObjectInfo>(200)
                .answers::<ObjectInfo>(201),
        )
        .add(
            post("/api/v1/objects:move", WRITE, objects::relocate)
                .says("Move an object to another key or bucket")
                .takes::<objects::FromTo>()
                .answers::<ObjectInfo>(200)
                .answers::<ObjectInfo>(201),
        )
        .add(
            get("/api/v1/objects:verify", READ, verify::verify)
                .says("Read every byte and compare it with its digest; a line for each object")
                .answers_bytes(200, "application/x-ndjson"),
        )
        .add(
            get("/api/v1/versions/{bucket}", READ, objects::versions)
                .says("What the keys of a bucket hold and held, the newest of a key first")
                .query("prefix", "only keys that start so")
                .paged()
                .answers::<VersionList>(200),
        )
}

#[cfg(feature = "s3")]
fn keys_table(table: Routes<Cask>) -> Routes<Cask> {
    const KEYS: &str = "/api/v1/s3-keys";
    const ADMIN: Needs = Needs::Admin("cask");
    table
        .add(
            get(KEYS, ADMIN, keys::list)
                .says("The pairs of keys that S3 clients may sign with, without their secrets")
                .answers::<List<KeyInfo>>(200),
        )
        .add(
            post(KEYS, ADMIN, keys::make)
                .says("Make a pair of keys; its secret is shown once")
                .takes::<NewKey>()
                .answers::<MadeKey>(201),
        )
        .add(
            delete("/api/v1/s3-keys/{access_key}", ADMIN, keys::delete)
                .says("Take a pair of keys back, at once")
                .answers::<()>(204),
        )
}

fn packages_table(table: Routes<Cask>) -> Routes<Cask> {
    table
        .add(
            get("/api/v1/packages", READ, packages::list)
                .says("Packages in order of name and version")
                .query("q", "only those with this in their name or summary")
                .paged()
                .answers::<List<PackageItem>>(200),
        )
        .add(
            put(PACKAGE, WRITE, packages::push)
                .says("Push a package; a version never changes")
                .takes_bytes(MEDIA_TYPE)
                .answers::<PackageInfo>(200)
                .answers::<PackageInfo>(201),
        )
        .add(bytes_route(get(PACKAGE, READ, packages::get)).says("A package's bytes"))
        .add(
            delete(PACKAGE, WRITE, packages::delete)
                .says("Delete a version of a package")
                .answers::<()>(204),
        )
        .add(
            get("/api/v1/packages/{name}/{version}/metadata", READ, packages::metadata)
                .says("What a package says of itself")
                .answers::<Metadata>(200),
        )
}

fn bytes_route(route: Route<Cask>) -> Route<Cask> {
    route
        .answers_bytes(200, "application/octet-stream")
        .answers_bytes(206, "application/octet-stream")
}

/// 201 for what is new, 200 for what was there.
fn kept<T: serde::Serialize>(kept: Kept<T>) -> (StatusCode, Json<T>) {
    let status = if kept.created { StatusCode::CREATED } else { StatusCode::OK };
    (status, Json(kept.item))
}

#[derive(Deserialize)]
struct BucketPath {
    bucket: String,
}

async fn list_buckets(
    State(cask): State<Cask>,
    Params(page): Params<PageParams>,
) -> Result<impl IntoResponse> {
    let (limit, after) = (page.limit()?, page.after()?);
    let items = off_thread(move || cask.buckets(after.as_deref(), limit + 1)).await?;
    Ok(Json(List::page(items, limit, |bucket| bucket.name.clone())))
}

async fn get_bucket(
    State(cask): State<Cask>,
    Parted(path): Parted<BucketPath>,
) -> Result<impl IntoResponse> {
    Ok(Json(off_thread(move || cask.bucket(&path.bucket)).await?))
}

async fn put_bucket(
    State(cask): State<Cask>,
    caller: Caller,
    Parted(path): Parted<BucketPath>,
    JsonBody(settings): JsonBody<BucketSettings>,
) -> Result<impl IntoResponse> {
    let work = move || cask.save_bucket(&caller, &path.bucket, &settings);
    Ok(kept(off_thread(work).await?))
}

async fn delete_bucket(
    State(cask): State<Cask>,
    caller: Caller,
    Parted(path): Parted<BucketPath>,
) -> Result<impl IntoResponse> {
    off_thread(move || cask.delete_bucket(&caller, &path.bucket)).await?;
    Ok(StatusCode::NO_CONTENT)
}
