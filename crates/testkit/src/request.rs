//! Upgrade requests as bytes, and responses read back. Says exactly what it is told: nothing is added behind a test's back.

/// An upgrade request under construction.
#[derive(Debug, Clone)]
pub struct Request {
    line: String,
    fields: Vec<(String, String)>,
}

impl Request {
    /// A correct request for `target`.
    pub fn new(target: &str) -> Self {
        let fields = [
            ("Host", "localhost"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", Self::KEY),
        ];
        Self {
            line: format!("GET {target} HTTP/1.1"),
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    /// The key of RFC 6455 §1.3.
    pub const KEY: &'static str = "dGhlIHNhbXBsZSBub25jZQ==";
    /// The answer to [`Self::KEY`].
    pub const ACCEPT: &'static str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Removes a field.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    /// Replaces the request line.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.line = line.into();
        self
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

impl Default for Request {
    fn default() -> Self {
        Self::new("/wse")
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The head as text.
    pub head: String,
    /// What followed up to the end of the stream; empty for 101.
    pub body: String,
}

impl Response {
    /// The value of a field, if it is there.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}
