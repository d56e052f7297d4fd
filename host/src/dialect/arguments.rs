//! Following the arguments of a tool call while they arrive in fragments.
//!
//! Anthropic's stream has one block open at a time, so its renderer must know
//! when a call's arguments are complete. This finds the end of one JSON object,
//! array or string by its brackets and quotes; it does not check the rest.

/// How far the arguments have come.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    depth: usize,
    in_string: bool,
    escaped: bool,
    complete: bool,
}

impl Progress {
    /// Takes the next fragment.
    pub fn push(&mut self, fragment: &str) {
        for byte in fragment.bytes() {
            self.byte(byte);
        }
    }

    /// Whether one JSON value has been closed. Never true for numbers and
    /// literals, whose end nothing marks; they are no arguments anyway.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    fn byte(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => {
                    self.in_string = false;
                    self.complete = self.depth == 0;
                }
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                self.complete = false;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.complete = self.depth == 0;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn the_end_is_found_wherever_the_fragments_are_cut() {
        let cases = [
            ("{}", true),
            ("", false),
            ("   ", false),
            (r#"{"a":"}"#, false),
            (r#"{"a":"}\""}"#, true),
            (r#"{"a":"\\"}"#, true),
            (r#"{"a":[1,{"b":"]"}]}"#, true),
            (r#"{"a":[1,{"b":2}"#, false),
            (r#""text""#, true),
            ("12", false),
            ("{}{", false),
            (r#"{"é":"ü}"}"#, true),
        ];
        for (text, complete) in cases {
            let mut whole = Progress::default();
            whole.push(text);
            let mut cut = Progress::default();
            text.chars().for_each(|c| cut.push(&c.to_string()));
            assert_eq!(whole.is_complete(), complete, "{text}");
            assert_eq!(cut.is_complete(), complete, "{text} in pieces");
        }
    }
}
