//! Errors as people and programs meet them over HTTP: RFC 9457 problem documents.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use crate::kernel::error::{Error, Fault, Kind};
use crate::kernel::name::new_id;

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A problem document.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short title.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The sentence for people.
    pub detail: String,
    /// The stable word for programs.
    pub code: String,
    /// Every fault in what was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub errors: Vec<Fault>,
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let mut detail = error.detail().to_owned();
        if error.kind() == Kind::Internal {
            // What went wrong inside is for the log; the id leads there.
            let id = new_id();
            tracing::error!(error_id = %id, ?error, "internal error");
            detail = format!("internal error; the log knows more under {id}");
        }
        Self {
            kind: format!("urn:drip:problem:{}", error.code()),
            title: error.kind().title().to_owned(),
            status: error.kind().status(),
            detail,
            code: error.code().to_owned(),
            errors: error.faults().to_vec(),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response<Body> {
        let problem = Problem::from(&self);
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.wait() {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                headers.insert(header::RETRY_AFTER, value);
            }
        }
        response
    }
}
