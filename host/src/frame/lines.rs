//! Newline-delimited JSON: a frame a line, blank lines left out.

use bytes::BytesMut;

use super::{Framed, TooLarge, raw};

#[derive(Debug)]
pub struct Lines {
    limit: usize,
    pending: BytesMut,
}

impl Lines {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            pending: BytesMut::new(),
        }
    }

    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Framed>) -> Result<(), TooLarge> {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.pending.extend_from_slice(piece);
            if self.pending.len() > self.limit {
                return Err(TooLarge { limit: self.limit });
            }
            if piece.ends_with(b"\n") {
                self.finish(out);
            }
        }
        Ok(())
    }

    pub fn finish(&mut self, out: &mut Vec<Framed>) {
        let line = self.pending.split().freeze();
        let data = line.trim_ascii();
        if !data.is_empty() {
            out.push(Framed {
                raw: line.clone(),
                ..raw(data.to_vec())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_frame_however_it_is_cut() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":3}";
        for size in 1..=text.len() {
            let mut lines = Lines::new(64);
            let mut out = Vec::new();
            for chunk in text.chunks(size) {
                lines.push(chunk, &mut out).unwrap();
            }
            lines.finish(&mut out);
            let data: Vec<_> = out.iter().map(|f| f.frame.data.as_slice()).collect();
            assert_eq!(data, [b"{\"a\":1}".as_slice(), b"{\"b\":2}", b"{\"c\":3}"]);
        }
        assert!(Lines::new(4).push(b"12345", &mut Vec::new()).is_err());
    }
}
