//! Events as bytes on the wire: Server-Sent Events, or the messages of a WebSocket.

use axum::body::Bytes;
use memchr::memchr2;

/// How large a piece of a stream over plain HTTP gets before another is begun.
const PIECE: usize = 32 << 10;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wire {
    /// `text/event-stream`.
    Lines,
    /// One JSON message each.
    Messages,
}

/// Events being written. An event is open until the next one, so that the last one of a batch can
/// be given the batch's id.
pub(super) struct Frames {
    wire: Wire,
    done: Vec<Bytes>,
    out: Vec<u8>,
    open: bool,
    bytes: usize,
}

impl Frames {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, done: Vec::new(), out: Vec::new(), open: false, bytes: 0 }
    }

    /// Begins an event; `data` writes its data, JSON.
    pub(super) fn event(&mut self, name: &str, data: impl FnOnce(&mut Vec<u8>)) {
        self.close();
        self.open = true;
        match self.wire {
            Wire::Lines => {
                self.put(&["event: ", name, "\ndata: "]);
                let start = self.out.len();
                data(&mut self.out);
                self.out_of_one_line(start);
                self.out.push(b'\n');
            }
            Wire::Messages => {
                self.put(&["{\"event\":\"", name, "\",\"data\":"]);
                data(&mut self.out);
            }
        }
    }

    /// Gives the open event an id, and ends it. Without an open event, the id alone is said.
    pub(super) fn mark(&mut self, id: &str) {
        match (self.wire, self.open) {
            (Wire::Lines, _) => self.put(&["id: ", id, "\n"]),
            (Wire::Messages, true) => self.put(&[",\"id\":\"", id, "\""]),
            (Wire::Messages, false) => {
                self.put(&["{\"event\":\"heartbeat\",\"id\":\"", id, "\""]);
            }
        }
        self.open = true;
        self.close();
    }

    /// Tells a client over plain HTTP when to come back.
    pub(super) fn retry(&mut self, milliseconds: u128) {
        if self.wire == Wire::Lines {
            self.put(&["retry: ", &milliseconds.to_string(), "\n"]);
            self.open = true;
        }
    }

    /// Writes a line that clients leave alone.
    pub(super) fn comment(&mut self, text: &str) {
        if self.wire == Wire::Lines {
            self.close();
            self.put(&[": ", text, "\n"]);
            self.open = true;
        }
    }

    /// How many bytes there are so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.out.len()
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// All of it.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        self.close();
        self.cut();
        self.done
    }

    fn close(&mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        match self.wire {
            Wire::Lines => {
                self.out.push(b'\n');
                if self.out.len() >= PIECE {
                    self.cut();
                }
            }
            Wire::Messages => {
                self.out.push(b'}');
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        if !self.out.is_empty() {
            self.bytes += self.out.len();
            self.done.push(std::mem::take(&mut self.out).into());
        }
    }

    fn put(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.out.extend_from_slice(part.as_bytes()));
    }

    /// JSON may be spread over lines, data may not: between its tokens a space is as good, and
    /// within its strings no line ever ends.
    fn out_of_one_line(&mut self, start: usize) {
        let mut at = start;
        while let Some(next) = memchr2(b'\n', b'\r', &self.out[at..]) {
            at += next;
            self.out[at] = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(wire: Wire) -> Vec<String> {
        let mut frames = Frames::new(wire);
        frames.retry(2000);
        frames.event("add", |out| out.extend_from_slice(b"{\"a\":\n [1]}"));
        frames.event("del", |out| out.extend_from_slice(b"{}"));
        frames.mark("b-7");
        frames.comment("heartbeat");
        frames.mark("b-8");
        frames.event("end", |out| out.extend_from_slice(b"{}"));
        let bytes = frames.bytes();
        let all = frames.finish();
        assert!(all.iter().map(Bytes::len).sum::<usize>() > bytes, "the last event was open");
        all.into_iter().map(|part| String::from_utf8(part.to_vec()).expect("UTF-8")).collect()
    }

    #[test]
    fn lines_are_as_the_standard_has_them() {
        let expected = "retry: 2000\n\nevent: add\ndata: {\"a\":  [1]}\n\nevent: del\ndata: {}\n\
                        id: b-7\n\n: heartbeat\nid: b-8\n\nevent: end\ndata: {}\n\n";
        assert_eq!(write(Wire::Lines).concat(), expected);
    }

    #[test]
    fn each_message_is_one_document() {
        let messages = write(Wire::Messages);
        let read = |text: &String| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        let read: Vec<_> = messages.iter().map(read).collect();
        assert_eq!(
            read,
            [
                serde_json::json!({"event": "add", "data": {"a": [1]}}),
                serde_json::json!({"event": "del", "data": {}, "id": "b-7"}),
                serde_json::json!({"event": "heartbeat", "id": "b-8"}),
                serde_json::json!({"event": "end", "data": {}}),
            ]
        );
    }

    #[test]
    fn long_streams_come_in_pieces_that_end_with_an_event() {
        let mut frames = Frames::new(Wire::Lines);
        for _ in 0..100 {
            frames.event("add", |out| out.resize(out.len() + 1000, b'x'));
        }
        frames.mark("b-1");
        let pieces = frames.finish();
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.ends_with(b"\n\n")));
        assert!(pieces.iter().all(|piece| piece.len() < PIECE + 2000));
    }
}
