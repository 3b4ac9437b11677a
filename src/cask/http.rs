//! The routes of cask.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::Cask;
use super::model::{
    BucketInfo, BucketSettings, Kept, ObjectInfo, ObjectList, PackageInfo, PackageItem,
};
use super::package::{MEDIA_TYPE, Metadata};
use crate::kernel::Result;
use crate::kernel::access::{Caller, Needs};
use crate::kernel::http::{
    JsonBody, List, PageParams, Params, Parted, Route, Routes, delete, get, off_thread, put,
};

mod headers;
mod objects;
mod packages;
mod serve;

const READ: Needs = Needs::Read("cask");
const WRITE: Needs = Needs::Write("cask");
const BUCKET: &str = "/api/v1/buckets/{bucket}";
const OBJECT: &str = "/api/v1/objects/{bucket}/{*key}";
const PACKAGE: &str = "/api/v1/packages/{name}/{version}";

/// The table of routes over a cask.
pub fn routes(cask: Cask) -> Routes {
    let table = Routes::new("cask");
    let table = packages_table(objects_table(buckets_table(table)));
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
        .add(bytes_route(get(OBJECT, READ, objects::get)).says("An object's bytes, or a range"))
        .add(delete(OBJECT, WRITE, objects::delete).says("Delete an object").answers::<()>(204))
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
