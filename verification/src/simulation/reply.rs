//! Replies as a client reads them: a reader of its own, that shares nothing with the server's writer.

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// `error.code` of its body.
    pub code: String,
    /// `metrics_processed` of its body.
    pub metrics: Option<u64>,
    /// Whether it says that the connection ends.
    pub close: bool,
}

/// Takes the first reply off `inbox`; `None` when it is not whole. Interim replies are skipped.
///
/// # Errors
/// What is wrong with it.
pub fn take(inbox: &mut Vec<u8>) -> Result<Option<Reply>, String> {
    loop {
        let Some(end) = inbox.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8(inbox[..end].to_vec()).map_err(|error| error.to_string())?;
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| format!("no status line: {status_line:?}"))?;
        let (mut length, mut close, mut keep_alive) = (0, false, false);
        for line in lines {
            let (name, value) = line
                .split_once(": ")
                .ok_or_else(|| format!("no field: {line:?}"))?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().map_err(|_| format!("no length: {line:?}"))?,
                "connection" if value == "close" => close = true,
                "connection" if value == "keep-alive" => keep_alive = true,
                _ => {}
            }
        }
        if close && keep_alive {
            return Err("a reply says both close and keep-alive".to_owned());
        }
        if inbox.len() < end + 4 + length {
            return Ok(None);
        }
        let body: Vec<u8> = inbox.drain(..end + 4 + length).skip(end + 4).collect();
        if status == 100 {
            continue;
        }
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        return Ok(Some(Reply {
            status,
            code: json["error"]["code"].as_str().unwrap_or_default().to_owned(),
            metrics: json["metrics_processed"].as_u64(),
            close,
        }));
    }
}
