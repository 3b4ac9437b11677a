#![cfg(test)]
//! HTTP for tests, over a plain socket: a call either has a whole answer or it has none, and a test
//! of crashes must tell the two apart.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// An answer that came wholly.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error} in the answer {}: {}", self.status, self.text())
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let same = |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.headers.iter().find(same).map(|(_, value)| value.as_str())
    }

    /// Fails the test unless the status is the one that is meant.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// Where calls go, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    address: String,
    token: Option<String>,
    retry_key: Option<String>,
}

impl Http {
    /// Calls to `host:port`, as no one.
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), token: None, retry_key: None }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whose calls they are.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Calls that carry an `Idempotency-Key`.
    pub(crate) fn with_retry_key(&self, key: &str) -> Self {
        Self { retry_key: Some(key.to_owned()), ..self.clone() }
    }

    pub(crate) fn get(&self, path: &str) -> io::Result<Answer> {
        self.call("GET", path, None)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> io::Result<Answer> {
        self.call("PUT", path, Some(body))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> io::Result<Answer> {
        self.call("POST", path, Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> io::Result<Answer> {
        self.call("DELETE", path, None)
    }

    /// Sends a call with a JSON body and reads the whole answer.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        let bytes = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        self.send(method, path, body.map(|_| "application/json"), &bytes)
    }

    /// Sends a call with a body of any media type and reads the whole answer.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        media_type: Option<&str>,
        bytes: &[u8],
    ) -> io::Result<Answer> {
        let mut head = vec![
            format!("{method} {path} HTTP/1.1"),
            format!("host: {}", self.address),
            format!("content-length: {}", bytes.len()),
            "connection: close".to_owned(),
        ];
        if let Some(token) = &self.token {
            head.push(format!("authorization: Bearer {token}"));
        }
        if let Some(key) = &self.retry_key {
            head.push(format!("idempotency-key: {key}"));
        }
        if let Some(media_type) = media_type {
            head.push(format!("content-type: {media_type}"));
        }
        let head = head.join("\r\n") + "\r\n\r\n";
        self.raw(&[head.as_bytes(), bytes].concat())
    }

    /// Sends bytes as they are and reads the whole answer.
    pub(crate) fn raw(&self, request: &[u8]) -> io::Result<Answer> {
        let mut socket = TcpStream::connect(&self.address)?;
        socket.set_read_timeout(Some(Duration::from_mins(1)))?;
        socket.write_all(request)?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        parse(&answer).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// An answer, if it is there wholly.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let body = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: body.to_vec() };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunk(body)?;
    } else if let Some(length) = answer.header("content-length") {
        let length: usize = length.parse().ok()?;
        answer.body = body.get(..length)?.to_vec();
    }
    Some(answer)
}

fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_cut_off_is_none() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nETag: \"1\"\r\n\r\n{}";
        let answer = parse(whole).unwrap();
        assert_eq!((answer.status, answer.json()), (201, serde_json::json!({})));
        assert_eq!(answer.header("etag"), Some("\"1\""));
        assert!((0..whole.len()).all(|end| parse(&whole[..end]).is_none()));
        let chunked =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().body, b"abcd");
        assert!(parse(&chunked[..chunked.len() - 8]).is_none());
    }
}
