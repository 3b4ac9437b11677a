//! S3 over one kept connection, signed by version 4, with as little work as can be.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use drip::kernel::name::hex;
use drip::kernel::{Clock as _, SystemClock};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The pair of keys that every server of the bench takes.
pub(crate) const PAIR: (&str, &str) = ("bench-access", "bench-secret-0123456789");
const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";

/// One connection to a server.
pub(crate) struct S3 {
    reader: BufReader<TcpStream>,
    address: String,
    /// The body of the last answer.
    pub(crate) body: Vec<u8>,
    /// The tag of the last answer.
    pub(crate) etag: String,
}

fn mac(key: &[u8], text: &str) -> io::Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(io::Error::other)?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

impl S3 {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_mins(10)))?;
        Ok(Self {
            reader: BufReader::with_capacity(256 << 10, socket),
            address: address.to_owned(),
            body: Vec::new(),
            etag: String::new(),
        })
    }

    /// Sends a request and reads its answer. The query is encoded and in order.
    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> io::Result<u16> {
        let head = self.head(method, path, query, body.len())?;
        let socket = self.reader.get_mut();
        if body.len() <= 64 << 10 {
            socket.write_all(&[head.as_bytes(), body].concat())?;
        } else {
            socket.write_all(head.as_bytes())?;
            socket.write_all(body)?;
        }
        self.read_answer(method == "HEAD")
    }

    fn head(&self, method: &str, path: &str, query: &str, length: usize) -> io::Result<String> {
        let now = SystemClock.now().to_chrono();
        let (day, time) = (now.format("%Y%m%d").to_string(), now.format("%Y%m%dT%H%M%SZ"));
        let host = &self.address;
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{time}\n\n{SIGNED}\nUNSIGNED-PAYLOAD"
        );
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let mut key = format!("AWS4{}", PAIR.1).into_bytes();
        for part in [day.as_str(), "us-east-1", "s3", "aws4_request"] {
            key = mac(&key, part)?;
        }
        let signature = hex(&mac(&key, &to_sign)?);
        let separator = if query.is_empty() { "" } else { "?" };
        let mut head = String::with_capacity(600);
        let _infallible = write!(
            head,
            "{method} {path}{separator}{query} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\
             x-amz-content-sha256: UNSIGNED-PAYLOAD\r\nx-amz-date: {time}\r\nauthorization: \
             AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={SIGNED},Signature={signature}\r\n\r\n",
            PAIR.0
        );
        Ok(head)
    }

    fn read_answer(&mut self, is_head: bool) -> io::Result<u16> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or(ErrorKind::UnexpectedEof)?;
        let (mut length, mut chunked) = (0, false);
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    length = value.trim().parse().map_err(|_bad| ErrorKind::InvalidData)?;
                }
                "transfer-encoding" => chunked = value.contains("chunked"),
                "etag" => value.trim().clone_into(&mut self.etag),
                _ => {}
            }
        }
        self.body.clear();
        if is_head {
            return Ok(status);
        }
        if !chunked {
            self.body.resize(length, 0);
            self.reader.read_exact(&mut self.body)?;
            return Ok(status);
        }
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let start = self.body.len();
            self.body.resize(start + size + 2, 0);
            if let Some(place) = self.body.get_mut(start..) {
                self.reader.read_exact(place)?;
            }
            self.body.truncate(start + size);
            if size == 0 {
                return Ok(status);
            }
        }
    }
}
