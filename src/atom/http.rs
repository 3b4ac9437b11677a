//! The routes of Atom.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::compute::Cancel;
use super::datasets::DatasetFilter;
use super::grants::OperatorGrant;
use super::model::{DatasetInfo, DatasetMeta, Guard, OperatorInfo, OperatorSpec, Port};
use super::operators::OperatorFilter;
use super::{Atom, MODULE, error};
use crate::kernel::access::{Caller, Needs};
use crate::kernel::fields::Fields;
use crate::kernel::http::{
    Conditions, JsonBody, List, PageParams, Params, Parted, Routes, delete, etag, get, off_thread,
    parse_json, post, put, text_of,
};
use crate::kernel::table::{ColumnStats, Format};
use crate::kernel::{Error, Fault, Name, Result};

const DATASET: &str = "/api/v1/datasets/{name}/{version}";
const OPERATOR: &str = "/api/v1/operators/{name}/{version}";
const GRANT: &str = "/api/v1/operators/{name}/{version}/grants/{user}";

/// The largest body of a computation: a hundred thousand rows with a few inputs.
const MAX_COMPUTE: u64 = 32 << 20;
const DATASET_HINT: &str = "`atom.max_dataset` sets the limit";
/// The rows of a preview, unless told otherwise, and at most.
const PREVIEW: (usize, usize) = (20, 1_000);

/// The table of Atom.
pub fn routes(atom: Atom) -> Routes {
    datasets().with_state(atom.clone()).and(operators().with_state(atom))
}

const READ: Needs = Needs::Read(MODULE);
const WRITE: Needs = Needs::Write(MODULE);

fn datasets() -> Routes<Atom> {
    Routes::new(MODULE)
        .add(
            get("/api/v1/datasets", READ, list_datasets)
                .says("List datasets")
                .query("name", "only of this name")
                .query("tag", "only with this tag")
                .query("belong", "only what belongs there")
                .query("object_name", "only with this object name")
                .paged()
                .answers::<List<DatasetInfo>>(200),
        )
        .add(
            put(DATASET, WRITE, put_dataset)
                .says("Keep a table: CSV, NDJSON, Parquet or Arrow by its Content-Type")
                .query("tag", "a word to find it by")
                .query("belong", "where it belongs to")
                .query("object_name", "what it is called elsewhere")
                .query("remarks", "what else there is to say")
                .query("unit.COLUMN", "what a column is measured in")
                .takes_bytes("text/csv")
                .answers::<DatasetInfo>(200)
                .answers::<DatasetInfo>(201),
        )
        .add(
            get(DATASET, READ, get_dataset)
                .says("What a dataset is; `latest` is a version too")
                .answers::<DatasetInfo>(200),
        )
        .add(delete(DATASET, WRITE, delete_dataset).says("Delete a version").answers::<()>(204))
        .add(
            get("/api/v1/datasets/{name}/{version}/preview", READ, preview)
                .says("The first rows")
                .query("limit", "how many; 20 unless told, 1000 at most")
                .answers::<Preview>(200),
        )
        .add(
            get("/api/v1/datasets/{name}/{version}/stats", READ, stats)
                .says("Per column count, nulls, min, max, mean")
                .answers::<Stats>(200),
        )
}

fn operators() -> Routes<Atom> {
    Routes::new(MODULE)
        .add(
            get("/api/v1/operators", READ, list_operators)
                .says("List operators")
                .query("name", "only of this name")
                .query("tag", "only with this tag")
                .query("belong", "only what belongs there")
                .query("object_name", "only with this object name")
                .query("dataset", "only those tied to this dataset")
                .paged()
                .answers::<List<OperatorInfo>>(200),
        )
        .add(
            put(OPERATOR, WRITE, put_operator)
                .says("Check and keep an operator; it is served at once")
                .takes::<OperatorBody>()
                .answers::<OperatorInfo>(200)
                .answers::<OperatorInfo>(201),
        )
        .add(
            get(OPERATOR, READ, get_operator)
                .says("An operator; `latest` is a version too")
                .answers::<OperatorInfo>(200),
        )
        .add(delete(OPERATOR, WRITE, delete_operator).says("Delete a version").answers::<()>(204))
        .add(
            post("/api/v1/operators/{name}/{version}/compute", Needs::Granted(MODULE), compute)
                .says("Compute one row (`inputs`) or many (`rows`); a consumer needs a grant")
                .takes::<ComputeBody>()
                .answers::<ComputeAnswer>(200),
        )
        .add(
            get("/api/v1/operators/{name}/{version}/grants", WRITE, list_grants)
                .says("List who may compute with an operator")
                .paged()
                .answers::<List<OperatorGrant>>(200),
        )
        .add(
            put(GRANT, WRITE, put_grant)
                .says(
                    "Let a consumer compute with an operator; `latest` is whichever is the latest",
                )
                .answers::<OperatorGrant>(200)
                .answers::<OperatorGrant>(201),
        )
        .add(delete(GRANT, WRITE, delete_grant).says("Take a grant back").answers::<()>(204))
}

/// The first rows of a dataset.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape in the API's description")]
struct Preview {
    /// The rows.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
    /// The columns.
    #[schema(value_type = Vec<Object>)]
    schema: Vec<Value>,
}

/// The columns of a dataset at a glance.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape in the API's description")]
struct Stats {
    /// How many rows there are.
    rows: u64,
    /// The columns.
    #[schema(value_type = Vec<Object>)]
    columns: Vec<ColumnStats>,
}

/// An operator as it is sent.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape in the API's description; bodies are read field by field")]
struct OperatorBody {
    /// Rhai with a function `compute`.
    source: String,
    /// Its inputs; the function's parameters, of any type, when none are named.
    inputs: Option<Vec<Port>>,
    /// Its output.
    output: Option<Port>,
    /// The datasets that it belongs to.
    datasets: Option<Vec<String>>,
    /// A word to find it by.
    tag: Option<String>,
    /// Where it belongs to.
    belong: Option<String>,
    /// What it is called elsewhere.
    object_name: Option<String>,
    /// What else there is to say.
    remarks: Option<String>,
}

/// What to compute: one of the two.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape in the API's description; bodies are read field by field")]
struct ComputeBody {
    /// One row: a value for each input.
    #[schema(value_type = Option<Object>)]
    inputs: Option<Value>,
    /// Many rows.
    #[schema(value_type = Option<Vec<Object>>)]
    rows: Option<Vec<Value>>,
}

/// What was computed.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape in the API's description")]
struct ComputeAnswer {
    /// The value, for `inputs`: any JSON.
    #[schema(value_type = Option<Value>)]
    output: Option<Value>,
    /// The values, for `rows`.
    #[schema(value_type = Option<Vec<Value>>)]
    outputs: Option<Vec<Value>>,
    /// The operator's version.
    version: String,
}

#[derive(Deserialize)]
struct At {
    name: String,
    version: String,
}

impl At {
    fn names(&self) -> Result<(Name, Name)> {
        Ok((Name::new(&self.name)?, Name::new(&self.version)?))
    }
}

#[derive(Deserialize)]
struct GrantAt {
    name: String,
    version: String,
    user: String,
}

fn guard(conditions: Conditions) -> Guard {
    Guard { revision: conditions.revision, create_only: conditions.create_only }
}

fn created(is_new: bool) -> StatusCode {
    if is_new { StatusCode::CREATED } else { StatusCode::OK }
}

/// Receives a whole body, up to a limit of its own.
async fn receive(body: Body, most: u64, what: &str, hint: &str) -> Result<Bytes> {
    let mut stream = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(piece) = stream.try_next().await.map_err(|_cut| error::cut_off())? {
        if whole.len() as u64 + piece.len() as u64 > most {
            return Err(error::too_large(what, most, hint));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

async fn put_dataset(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<At>,
    Params(params): Params<Vec<(String, String)>>,
    conditions: Conditions,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse> {
    let (name, version) = at.names()?;
    let meta = DatasetMeta::read(params)?;
    let media_type = text_of(&headers, header::CONTENT_TYPE.as_str());
    let format = media_type.and_then(|text| Format::from_content_type(text).ok());
    let format = format
        .filter(|format| *format != Format::Json)
        .ok_or_else(|| error::no_media_type(media_type))?;
    let most = atom.config().max_dataset;
    let said = text_of(&headers, header::CONTENT_LENGTH.as_str()).and_then(|n| n.parse().ok());
    if said.is_some_and(|said: u64| said > most) {
        return Err(error::too_large("a dataset", most, DATASET_HINT));
    }
    let mut spool = atom.inner.parts.blobs.spool();
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.try_next().await.map_err(|_cut| error::cut_off())? {
        if spool.size() + piece.len() as u64 > most {
            return Err(error::too_large("a dataset", most, DATASET_HINT));
        }
        spool.write(&piece).await?;
    }
    // Whoever sends slowly must not keep others from converting what is there.
    let uploads = atom.inner.uploads.clone();
    let _turn = uploads.acquire_owned().await.map_err(|_closed| Error::internal("no turns"))?;
    let put = move || {
        let sent = (format, spool.into_bytes()?);
        atom.put_dataset(&caller, (&name, &version), meta, sent, guard(conditions))
    };
    let (info, is_new) = off_thread(put).await?;
    Ok((created(is_new), etag(info.revision), Json(info)))
}

async fn get_dataset(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<At>,
) -> Result<impl IntoResponse> {
    let info = off_thread(move || atom.dataset(&caller, &at.name, &at.version)).await?;
    Ok((etag(info.revision), Json(info)))
}

async fn delete_dataset(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<At>,
    conditions: Conditions,
) -> Result<impl IntoResponse> {
    let conditions = guard(conditions);
    off_thread(move || atom.delete_dataset(&caller, &at.name, &at.version, conditions)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct ListParams {
    name: Option<String>,
    tag: Option<String>,
    belong: Option<String>,
    object_name: Option<String>,
    dataset: Option<String>,
    #[serde(flatten)]
    page: PageParams,
}

async fn list_datasets(
    State(atom): State<Atom>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Result<impl IntoResponse> {
    let (limit, after) = (params.page.limit()?, params.page.after()?);
    let ListParams { name, tag, belong, object_name, .. } = params;
    let filter = DatasetFilter { name, tag, belong, object_name };
    let list = move || atom.datasets(&caller, &filter, after.as_deref(), limit + 1);
    let found = off_thread(list).await?;
    Ok(Json(List::page(found, limit, |info| format!("{}/{}", info.name, info.version))))
}

#[derive(Deserialize)]
struct PreviewParams {
    limit: Option<String>,
}

async fn preview(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<At>,
    Params(params): Params<PreviewParams>,
) -> Result<impl IntoResponse> {
    let (usual, most) = PREVIEW;
    let limit = match &params.limit {
        None => usual,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
            limit.ok_or_else(|| {
                let fault = Fault::new("limit", format!("is a number from 1 to {most}"));
                Error::invalid(
                    "bad_limit",
                    format!("`limit` is a number from 1 to {most}"),
                    vec![fault],
                )
            })?
        }
    };
    let read = move || {
        let table = atom.preview(&caller, &at.name, &at.version, limit)?;
        Ok(json!({ "items": table.to_rows(), "schema": table.schema() }))
    };
    Ok(Json(off_thread(read).await?))
}

async fn stats(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<At>,
) -> Result<impl IntoResponse> {
    let read = move || {
        let info = atom.dataset(&caller, &at.name, &at.version)?;
        let columns = atom.stats(&caller, &info.name, &info.version)?;
        Ok(json!({ "rows": info.rows, "columns": columns }))
    };
    Ok(Json(off_thread(read).await?))
}

async fn put_operator(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<At>,
    conditions: Conditions,
    JsonBody(body): JsonBody<Value>,
) -> Result<impl IntoResponse> {
    let (name, version) = at.names()?;
    let spec = OperatorSpec::read(body)?;
    let put = move || atom.put_operator(&caller, (&name, &version), spec, guard(conditions));
    let (info, is_new) = off_thread(put).await?;
    Ok((created(is_new), etag(info.revision), Json(info)))
}

async fn get_operator(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<At>,
) -> Result<impl IntoResponse> {
    let info = atom.operator(&caller, &at.name, &at.version)?;
    Ok((etag(info.revision), Json(info)))
}

async fn delete_operator(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<At>,
    conditions: Conditions,
) -> Result<impl IntoResponse> {
    let conditions = guard(conditions);
    off_thread(move || atom.delete_operator(&caller, &at.name, &at.version, conditions)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_operators(
    State(atom): State<Atom>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Result<impl IntoResponse> {
    let (limit, after) = (params.page.limit()?, params.page.after()?);
    let ListParams { name, tag, belong, object_name, dataset, .. } = params;
    let filter = OperatorFilter { name, tag, belong, object_name, dataset };
    let found = atom.operators(&caller, &filter, after.as_deref(), limit + 1)?;
    Ok(Json(List::page(found, limit, |info| format!("{}/{}", info.name, info.version))))
}

/// Ends a computation whose caller went away.
struct Gone(Cancel);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

async fn compute(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<At>,
    body: Body,
) -> Result<impl IntoResponse> {
    let body = receive(body, MAX_COMPUTE, "a computation", "send the rows in parts").await?;
    let cancel = Cancel::default();
    let _gone = Gone(cancel.clone());
    let work = move || {
        let mut fields = Fields::of(parse_json(&body)?)?;
        let (inputs, rows) = (fields.take("inputs"), fields.list("rows"));
        fields.finish("bad_compute", "the request")?;
        match (inputs, rows) {
            (Some(inputs), None) => {
                let (output, version) = atom.compute(&caller, &at.name, &at.version, inputs)?;
                Ok(json!({ "output": output, "version": version }))
            }
            (None, Some(rows)) => {
                let computed = atom.compute_rows(&caller, &at.name, &at.version, rows, &cancel)?;
                Ok(json!({ "outputs": computed.values, "version": computed.version }))
            }
            _ => Err(error::bad_compute("give either `inputs` or `rows`, exactly one of them")),
        }
    };
    Ok(Json(off_thread(work).await?))
}

async fn list_grants(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<At>,
    Params(page): Params<PageParams>,
) -> Result<impl IntoResponse> {
    let (limit, after) = (page.limit()?, page.after()?);
    let list =
        move || atom.operator_grants(&caller, (&at.name, &at.version), after.as_deref(), limit + 1);
    let found = off_thread(list).await?;
    Ok(Json(List::page(found, limit, |grant: &OperatorGrant| grant.user.clone())))
}

async fn put_grant(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<GrantAt>,
) -> Result<impl IntoResponse> {
    let user = Name::new(&at.user)?;
    let put = move || atom.put_operator_grant(&caller, (&at.name, &at.version), &user);
    let (grant, is_new) = off_thread(put).await?;
    Ok((created(is_new), Json(grant)))
}

async fn delete_grant(
    State(atom): State<Atom>,
    caller: Caller,
    Parted(at): Parted<GrantAt>,
) -> Result<impl IntoResponse> {
    let gone = move || atom.delete_operator_grant(&caller, (&at.name, &at.version), &at.user);
    off_thread(gone).await?;
    Ok(StatusCode::NO_CONTENT)
}
