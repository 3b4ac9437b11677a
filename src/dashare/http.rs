//! The routes of DaShare.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::Value;

use super::channels::Guard;
use super::data::Answer;
use super::model::{Channel, ChannelSpec, Grant, GrantSpec, QuotaSpec, QuotaState, Used};
use super::query::DataQuery;
use super::usage::UsageQuery;
use super::{Dashare, MODULE, error};
use crate::kernel::access::{Caller, Needs};
use crate::kernel::fields::Fields;
use crate::kernel::http::{
    Conditions, JsonBody, List, PageParams, Params, Parted, Routes, delete, etag, get, off_thread,
    post, put,
};
use crate::kernel::table::Format;
use crate::kernel::{Error, Name, Result};

const CHANNEL: &str = "/api/v1/channels/{group}/{name}";
const GRANT: &str = "/api/v1/channels/{group}/{name}/grants/{user}";
const QUOTA: &str = "/api/v1/users/{name}/quota";

/// The table of DaShare.
pub fn routes(dashare: Dashare) -> Routes {
    channels().with_state(dashare.clone()).and(uses().with_state(dashare))
}

const READ: Needs = Needs::Granted(MODULE);
const WRITE: Needs = Needs::Write(MODULE);

/// Channels and who may read them.
fn channels() -> Routes<Dashare> {
    Routes::new(MODULE)
        .add(
            get("/api/v1/channels", READ, list_channels)
                .says("List channels; a consumer sees those that it was granted")
                .paged()
                .answers::<List<Channel>>(200),
        )
        .add(
            put(CHANNEL, WRITE, put_channel)
                .says("Make or change a channel")
                .takes::<ChannelBody>()
                .answers::<Channel>(200)
                .answers::<Channel>(201),
        )
        .add(get(CHANNEL, READ, get_channel).says("One channel").answers::<Channel>(200))
        .add(
            delete(CHANNEL, WRITE, delete_channel)
                .says("Delete a channel and its grants; what was used stays on record")
                .answers::<()>(204),
        )
        .add(
            get("/api/v1/channels/{group}/{name}/grants", WRITE, list_grants)
                .says("List the grants of a channel")
                .paged()
                .answers::<List<Grant>>(200),
        )
        .add(
            put(GRANT, WRITE, put_grant)
                .says("Let a user read a channel")
                .takes::<GrantBody>()
                .answers::<Grant>(200)
                .answers::<Grant>(201),
        )
        .add(get(GRANT, READ, get_grant).says("One grant").answers::<Grant>(200))
        .add(delete(GRANT, WRITE, delete_grant).says("Take a grant back").answers::<()>(204))
}

/// The data, how much may be taken, what was.
fn uses() -> Routes<Dashare> {
    Routes::new(MODULE)
        .add(
            get("/api/v1/channels/{group}/{name}/data", READ, data)
                .says("The data of a channel: charged, and refused as a whole beyond the quota")
                .query("entity", "only these entities; commas or more than one")
                .query("start", "only rows from this time on")
                .query("end", "only rows before this time")
                .query("columns", "only these columns, beside time and entity")
                .query("limit", "at most so many rows; all unless told")
                .query("format", "json, csv, ndjson, parquet or arrow")
                .query("cursor", "where an answer that was cut goes on: `Drip-Cursor`")
                .answers::<Rows>(200),
        )
        .add(
            put(QUOTA, WRITE, put_quota)
                .says("Set how much a user may take from a channel; what was used stays used")
                .takes::<QuotaBody>()
                .answers::<List<QuotaState>>(200)
                .answers::<List<QuotaState>>(201),
        )
        .add(
            get(QUOTA, READ, get_quota)
                .says("The quotas of a user and how they stand; one's own for a consumer")
                .answers::<List<QuotaState>>(200),
        )
        .add(
            get("/api/v1/users/{name}/usage", READ, get_usage)
                .says("What a user used, by channel and day; one's own for a consumer")
                .query("channel", "only of this channel: group/name")
                .query("from", "only from this day on")
                .query("to", "only before this day")
                .paged()
                .answers::<List<Used>>(200),
        )
        .add(
            post("/api/v1/sql", Needs::Read(MODULE), sql)
                .says("Read-only SQL over datasets: `scada` is the latest version, `\"scada@2014\"` that one")
                .takes::<SqlBody>()
                .answers::<Rows>(200),
        )
}

/// What a channel is made of.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape in the API's description; bodies are read field by field")]
struct ChannelBody {
    /// The dataset: `scada@2014`; or `sql`.
    dataset: Option<String>,
    /// A query over datasets; or `dataset`.
    sql: Option<String>,
    /// The column that `start` and `end` cut.
    time_column: Option<String>,
    /// The column that `entity` picks from.
    entity_column: Option<String>,
    /// The columns that are shared besides; every one when none are named.
    columns: Option<Vec<String>>,
    /// `days`, `rows`, `bytes` or `requests`.
    unit: Option<String>,
    /// How often each user may ask: `10/s`.
    rate: Option<String>,
    /// How many requests may come at once.
    burst: Option<u32>,
}

/// What a user may see of a channel.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape in the API's description; bodies are read field by field")]
struct GrantBody {
    /// Only these columns, besides time and entity.
    columns: Option<Vec<String>>,
    /// Only rows from this time on.
    from: Option<String>,
    /// Only rows before this time.
    to: Option<String>,
}

/// A quota.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape in the API's description; bodies are read field by field")]
struct QuotaBody {
    /// The channel: `group/name`.
    channel: String,
    /// What is counted; the channel's unit when none is named.
    unit: Option<String>,
    /// How much may be used in a period.
    limit: u64,
    /// `day`, `month` or `total`; a day when none is named.
    period: Option<String>,
}

/// A query.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape in the API's description; bodies are read field by field")]
struct SqlBody {
    /// One SELECT.
    query: String,
    /// Values for `?` as a list, or for `:name` as an object.
    #[schema(value_type = Option<Value>)]
    params: Option<Value>,
    /// json, csv, ndjson, parquet or arrow.
    format: Option<String>,
}

/// Rows as JSON; the other formats have their own media types.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape in the API's description; answers are written as they are")]
struct Rows {
    /// The rows.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
    /// Where an answer that was cut goes on.
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct ChannelPath {
    group: String,
    name: String,
}

impl ChannelPath {
    /// A name that cannot be one is the name of nothing.
    fn pair(&self) -> (&str, &str) {
        (&self.group, &self.name)
    }
}

#[derive(Deserialize)]
struct GrantPath {
    group: String,
    name: String,
    user: String,
}

fn guard(conditions: Conditions) -> Guard {
    Guard { revision: conditions.revision, create_only: conditions.create_only }
}

fn created(is_new: bool) -> StatusCode {
    if is_new { StatusCode::CREATED } else { StatusCode::OK }
}

async fn list_channels(
    State(dashare): State<Dashare>,
    caller: Caller,
    Params(page): Params<PageParams>,
) -> Result<impl IntoResponse> {
    let (limit, after) = (page.limit()?, page.after()?);
    let found = off_thread(move || dashare.channels(&caller, after.as_deref(), limit + 1)).await?;
    let key = |channel: &Channel| format!("{}/{}", channel.group, channel.name);
    Ok(Json(List::page(found, limit, key)))
}

async fn put_channel(
    State(dashare): State<Dashare>,
    caller: Caller,
    Parted(path): Parted<ChannelPath>,
    conditions: Conditions,
    JsonBody(body): JsonBody<Value>,
) -> Result<impl IntoResponse> {
    let (group, name) = (Name::new(&path.group)?, Name::new(&path.name)?);
    let spec = ChannelSpec::read(body)?;
    let put = move || dashare.put_channel(&caller, (&group, &name), spec, guard(conditions));
    let (channel, is_new) = off_thread(put).await?;
    Ok((created(is_new), etag(channel.revision), Json(channel)))
}

async fn get_channel(
    State(dashare): State<Dashare>,
    caller: Caller,
    Parted(path): Parted<ChannelPath>,
) -> Result<impl IntoResponse> {
    let channel = off_thread(move || dashare.channel(&caller, &path.group, &path.name)).await?;
    Ok((etag(channel.revision), Json(channel)))
}

async fn delete_channel(
    State(dashare): State<Dashare>,
    caller: Caller,
    Parted(path): Parted<ChannelPath>,
    conditions: Conditions,
) -> Result<impl IntoResponse> {
    let conditions = guard(conditions);
    off_thread(move || dashare.delete_channel(&caller, &path.group, &path.name, conditions))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_grants(
    State(dashare): State<Dashare>,
    caller: Caller,
    Parted(path): Parted<ChannelPath>,
    Params(page): Params<PageParams>,
) -> Result<impl IntoResponse> {
    let (limit, after) = (page.limit()?, page.after()?);
    let list = move || dashare.grants(&caller, path.pair(), after.as_deref(), limit + 1);
    let found = off_thread(list).await?;
    Ok(Json(List::page(found, limit, |grant: &Grant| grant.user.clone())))
}

async fn put_grant(
    State(dashare): State<Dashare>,
    caller: Caller,
    Parted(path): Parted<GrantPath>,
    crate::kernel::http::Whole(body): crate::kernel::http::Whole,
) -> Result<impl IntoResponse> {
    let user = Name::new(&path.user)?;
    // A grant of everything needs no body.
    let body: Value = match body.as_ref() {
        [] => Value::Object(serde_json::Map::new()),
        body => crate::kernel::http::parse_json(body)?,
    };
    let spec = GrantSpec::read(body)?;
    let put = move || dashare.put_grant(&caller, (&path.group, &path.name), &user, spec);
    let (grant, is_new) = off_thread(put).await?;
    Ok((created(is_new), Json(grant)))
}

async fn get_grant(
    State(dashare): State<Dashare>,
    caller: Caller,
    Parted(path): Parted<GrantPath>,
) -> Result<impl IntoResponse> {
    let get = move || dashare.grant(&caller, &path.group, &path.name, &path.user);
    Ok(Json(off_thread(get).await?))
}

async fn delete_grant(
    State(dashare): State<Dashare>,
    caller: Caller,
    Parted(path): Parted<GrantPath>,
) -> Result<impl IntoResponse> {
    off_thread(move || dashare.delete_grant(&caller, &path.group, &path.name, &path.user)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn data(
    State(dashare): State<Dashare>,
    caller: Caller,
    method: Method,
    Parted(path): Parted<ChannelPath>,
    Params(params): Params<Vec<(String, String)>>,
) -> Result<impl IntoResponse> {
    // A router answers HEAD by GET without the body; here that would cost.
    if method == Method::HEAD {
        return Err(error::head_not_here());
    }
    let query = DataQuery::read(&params)?;
    let answers = dashare.inner.answers.clone();
    let _turn = answers.acquire_owned().await.map_err(|_closed| Error::internal("no turns"))?;
    let answer = off_thread(move || dashare.data(&caller, path.pair(), &query)).await?;
    Ok((headers_of(&answer), answer.body))
}

fn headers_of(answer: &Answer) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.format.content_type()));
    let mut number = |name: &'static str, value: u64| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    };
    number("drip-rows", answer.rows as u64);
    if let Some(quota) = &answer.quota {
        number("drip-quota-remaining", quota.remaining);
    }
    if let Some(rate) = &answer.rate {
        number("ratelimit-limit", rate.limit.into());
        number("ratelimit-remaining", rate.remaining.into());
        number("ratelimit-reset", rate.reset);
    }
    if let Some(cursor) = &answer.next_cursor
        && let Ok(cursor) = HeaderValue::from_str(cursor)
    {
        headers.insert("drip-truncated", HeaderValue::from_static("true"));
        headers.insert("drip-cursor", cursor);
    }
    headers
}

async fn put_quota(
    State(dashare): State<Dashare>,
    caller: Caller,
    Parted(user): Parted<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<impl IntoResponse> {
    let user = Name::new(&user)?;
    let spec = QuotaSpec::read(body)?;
    let put = move || {
        let (_, is_new) = dashare.put_quota(&caller, &user, &spec)?;
        Ok((dashare.quotas(&caller, user.as_str())?, is_new))
    };
    let (quotas, is_new) = off_thread(put).await?;
    Ok((created(is_new), Json(List::whole(quotas))))
}

async fn get_quota(
    State(dashare): State<Dashare>,
    caller: Caller,
    Parted(user): Parted<String>,
) -> Result<impl IntoResponse> {
    let quotas = off_thread(move || dashare.quotas(&caller, &user)).await?;
    Ok(Json(List::whole(quotas)))
}

#[derive(Deserialize)]
struct UsageParams {
    channel: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[serde(flatten)]
    page: PageParams,
}

async fn get_usage(
    State(dashare): State<Dashare>,
    caller: Caller,
    Parted(user): Parted<String>,
    Params(params): Params<UsageParams>,
) -> Result<impl IntoResponse> {
    let limit = params.page.limit()?;
    let query = UsageQuery {
        channel: params.channel,
        from: params.from,
        to: params.to,
        after: params.page.after()?,
    };
    let found = off_thread(move || dashare.usage(&caller, &user, &query, limit + 1)).await?;
    let key = |used: &Used| format!("{}/{}", used.channel, used.day);
    Ok(Json(List::page(found, limit, key)))
}

async fn sql(
    State(dashare): State<Dashare>,

    caller: Caller,
    JsonBody(body): JsonBody<Value>,
) -> Result<impl IntoResponse> {
    let mut fields = Fields::of(body)?;
    let query = fields.must_text("query");
    let params = fields.take("params").unwrap_or(Value::Null);
    let format = fields.parsed("format", Format::from_name).unwrap_or(Format::Json);
    fields.finish("bad_sql_request", "the request")?;
    let query = query.unwrap_or_default();
    let answers = dashare.inner.answers.clone();
    let _turn = answers.acquire_owned().await.map_err(|_closed| Error::internal("no turns"))?;
    let body = off_thread(move || dashare.sql(&caller, &query, &params, format)).await?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], body))
}
