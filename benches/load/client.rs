//! HTTP over one kept connection, with as little work as can be: what is measured is the daemon.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// One connection to the daemon.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    head: String,
    request: Vec<u8>,
    /// The body of the last answer.
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: &str, token: Option<&str>) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_mins(2)))?;
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let head = format!("host: {address}\r\n{}", token.unwrap_or_default());
        Ok(Self { reader: BufReader::new(socket), head, request: Vec::new(), body: Vec::new() })
    }

    #[allow(dead_code, reason = "each bench uses a part of it")]
    pub(crate) fn put(&mut self, path: &str, body: &str) -> io::Result<u16> {
        self.call("PUT", path, body)
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> io::Result<u16> {
        self.call("POST", path, body)
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<u16> {
        self.call("GET", path, "")
    }

    /// The JSON of the last answer.
    pub(crate) fn json(&self) -> io::Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    fn call(&mut self, method: &str, path: &str, body: &str) -> io::Result<u16> {
        self.request.clear();
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\n{}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.head,
            body.len()
        )?;
        self.reader.get_mut().write_all(&self.request)?;
        self.read_answer()
    }

    fn read_answer(&mut self) -> io::Result<u16> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or(ErrorKind::UnexpectedEof)?;
        let mut length = 0;
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().map_err(|_bad| ErrorKind::InvalidData)?;
                }
                Some(_) => {}
                None => break,
            }
        }
        self.body.resize(length, 0);
        self.reader.read_exact(&mut self.body)?;
        Ok(status)
    }
}
