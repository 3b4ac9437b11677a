#![cfg(test)]
//! Requests signed as S3 clients sign them (AWS Signature Version 4), over a plain socket: so that a
//! crash is told from a refusal.

use std::fmt::Write as _;
use std::io;

use chrono::{DateTime, Utc};
use drip::kernel::{Clock as _, SystemClock};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::http::{Answer, Http};

/// Where S3 clients are answered, and the pair of keys that they sign with.
#[derive(Debug, Clone)]
pub(crate) struct S3 {
    http: Http,
    access_key: String,
    secret_key: String,
}

impl S3 {
    pub(crate) fn new(address: &str, (access_key, secret_key): (&str, &str)) -> Self {
        Self {
            http: Http::new(address),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
        }
    }

    /// Sends a signed request. `path` and `query` are encoded already; the query's names are in order.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let head = self.head(method, path, query, body, SystemClock.now().to_chrono());
        self.http.raw(&[head.as_bytes(), body].concat())
    }

    fn head(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> String {
        let (day, time) = (now.format("%Y%m%d").to_string(), now.format("%Y%m%dT%H%M%SZ"));
        let host = self.http.address();
        let hash = hex(&Sha256::digest(body));
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{hash}\nx-amz-date:{time}\n\n{signed}\n{hash}"
        );
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let secret = format!("AWS4{}", self.secret_key);
        let key = [day.as_str(), "us-east-1", "s3", "aws4_request"]
            .iter()
            .fold(secret.into_bytes(), |key, part| mac(&key, part.as_bytes()));
        let signature = hex(&mac(&key, to_sign.as_bytes()));
        let separator = if query.is_empty() { "" } else { "?" };
        [
            format!("{method} {path}{separator}{query} HTTP/1.1"),
            format!("host: {host}"),
            format!("content-length: {}", body.len()),
            "connection: close".to_owned(),
            format!("x-amz-content-sha256: {hash}"),
            format!("x-amz-date: {time}"),
            format!(
                "authorization: AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={signed},Signature={signature}",
                self.access_key
            ),
        ]
        .join("\r\n")
            + "\r\n\r\n"
    }
}

/// What stands in an element of an XML answer, as often as it is there.
pub(crate) fn elements(answer: &Answer, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let text = answer.text();
    let parts = text.split(&open).skip(1);
    parts.filter_map(|part| Some(part.split_once(&close)?.0.to_owned())).collect()
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
