//! The S3 listener: the protocol of cask's `s3` room at an address of its own, behind the same doors
//! against stalled bodies and panics as everything else. Who may is decided by the signature.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Response, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use s3s::service::S3Service;
use s3s::{S3Error, S3ErrorCode};

use super::listening::Listening;
use super::{Config, bind, bodies, is_open, middleware, not_loopback, resolve};
use crate::cask::Cask;
use crate::cask::s3::{Pair, service};
use crate::kernel::config::Settings;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::http::text_of;

/// The setting that names the address.
const LISTEN: &str = "cask.s3.listen";

/// Takes the port of the S3 protocol, where the settings ask for it.
pub async fn listen_s3(
    settings: &Settings,
    cask: Option<&Cask>,
    config: &Config,
) -> Result<Option<Listening>> {
    let pair = pair(settings)?;
    let Some(wanted) = settings.given(LISTEN, Settings::text)?.filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let Some(cask) = cask else {
        let detail = format!("`{LISTEN}` is set, and the module `cask` is not enabled");
        return Err(Error::new(Kind::Config, "no_cask", detail));
    };
    let addresses = resolve(wanted).await?;
    if is_open(&addresses) && !config.behind_proxy {
        return Err(not_loopback(wanted));
    }
    let cure = format!("end that program, or give `{LISTEN}` another address");
    let listener = bind(wanted, &addresses, &cure).await?;
    let router = router(service(cask.clone(), pair), config.limits.stall);
    Listening::over(LISTEN, listener, router, config.limits).map(Some)
}

/// The pair of keys of the settings: both or neither.
fn pair(settings: &Settings) -> Result<Option<Pair>> {
    let access_key = settings.given("cask.s3.access_key", Settings::text)?;
    let secret_key = settings.given("cask.s3.secret_key", Settings::secret)?;
    match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => {
            Ok(Some(Pair { access_key: access_key.to_owned(), secret_key: secret_key.clone() }))
        }
        (None, None) => Ok(None),
        (given, _) => {
            let (given, missing) = match given {
                Some(_) => ("cask.s3.access_key", "cask.s3.secret_key"),
                None => ("cask.s3.secret_key", "cask.s3.access_key"),
            };
            let detail = format!("`{given}` is set and `{missing}` is not: they are a pair");
            Err(Error::new(Kind::Config, "half_a_pair", detail))
        }
    }
}

/// The protocol behind its doors, in the order that a request meets them.
fn router(service: S3Service, stall: Duration) -> Router {
    // The last layer is the first that a request meets.
    Router::new()
        .fallback(move |request: Request| ask(service.clone(), request))
        .layer(from_fn(no_forms))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn_with_state(stall, bodies::watch))
        .layer(from_fn(middleware::count_and_trace))
}

async fn ask(service: S3Service, request: Request) -> Response<Body> {
    let request = request.map(s3s::Body::http_body_unsync);
    let mut response = match service.call(request).await {
        Ok(response) => response.map(Body::new),
        Err(failed) => {
            tracing::error!(?failed, "an S3 request could not be answered");
            refuse(S3ErrorCode::InternalError, "an error of ours")
        }
    };
    // What people stored is not taken for anything but what it is said to be.
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// A form would be gathered in memory before anyone asks who sent it.
async fn no_forms(request: Request, next: Next) -> Response<Body> {
    let kind = text_of(request.headers(), header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let is_form = kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data");
    if request.method() == Method::POST && is_form {
        return refuse(S3ErrorCode::NotImplemented, "uploads by a form: put the object instead");
    }
    next.run(request).await
}

fn refuse(code: S3ErrorCode, why: &'static str) -> Response<Body> {
    match S3Error::with_message(code, why).to_http_response() {
        Ok(response) => response.map(Body::new),
        Err(_unwritten) => Response::new(Body::empty()),
    }
}
