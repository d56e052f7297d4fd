//! Events that nobody changed go out as the bytes they came in.
//!
//! Rendering loses what events cannot express: a provider's own members, key
//! order, spacing. So where client and upstream speak the same dialect, the
//! events that the filters pass on are compared with those of each frame; as
//! long as they agree, frames are sent as they are. From the first difference
//! on the renderer writes. It has been told of everything before, so it goes on
//! where the frames ended.

use std::collections::VecDeque;

use crate::dialect::StreamRenderer;
use crate::event::ModelEvent;
use crate::frame::Framed;

/// The most bytes of frames that wait for a filter that holds back their events.
/// A filter that holds back more has long since changed what it passes on.
const MAX_WAITING: usize = 2 << 20;

#[derive(Debug, Default)]
pub struct Verbatim {
    waiting: VecDeque<Waiting>,
    /// How many bytes those are.
    held: usize,
    /// Events of the first waiting frame that have been passed on unchanged.
    agreed: usize,
    differs: bool,
}

#[derive(Debug)]
struct Waiting {
    framed: Framed,
    events: Vec<ModelEvent>,
}

impl Waiting {
    /// Sends the frame as it came. The renderer learns what the client now
    /// knows. What follows a terminator no filter has seen.
    fn send(&self, renderer: &mut dyn StreamRenderer, out: &mut Vec<u8>) {
        if renderer.is_over() {
            return;
        }
        out.extend_from_slice(&self.framed.raw);
        renderer.sent(&self.framed.frame.data, &self.events);
    }
}

impl Verbatim {
    /// Takes frames, and the events that were passed on after them.
    pub fn write(
        &mut self,
        framed: Vec<(Framed, Vec<ModelEvent>)>,
        events: &[ModelEvent],
        renderer: &mut dyn StreamRenderer,
        out: &mut Vec<u8>,
    ) {
        if !self.differs {
            let waiting = framed
                .into_iter()
                .map(|(framed, events)| Waiting { framed, events });
            self.waiting
                .extend(waiting.inspect(|frame| self.held += frame.framed.raw.len()));
        }
        for (i, event) in events.iter().enumerate() {
            if self.differs || !self.agrees(event, renderer, out) {
                self.part_ways(renderer, out);
                renderer.events(&events[i..], out);
                return;
            }
        }
        self.release_silent(renderer, out);
        if self.held > MAX_WAITING {
            self.part_ways(renderer, out);
        }
    }

    /// All events have been passed on. Whether the frames said all there is to
    /// say, the terminator included.
    pub fn finish(&mut self, renderer: &mut dyn StreamRenderer, out: &mut Vec<u8>) -> bool {
        self.release_silent(renderer, out);
        if !self.differs && self.waiting.is_empty() {
            return true;
        }
        self.part_ways(renderer, out);
        false
    }

    /// Whether the event is the next one of the frames. Completes the frame if
    /// it was its last one.
    fn agrees(
        &mut self,
        event: &ModelEvent,
        renderer: &mut dyn StreamRenderer,
        out: &mut Vec<u8>,
    ) -> bool {
        self.release_silent(renderer, out);
        let Some(frame) = self.waiting.front() else {
            return false;
        };
        if frame.events.get(self.agreed) != Some(event) {
            return false;
        }
        self.agreed += 1;
        if self.agreed == frame.events.len() {
            self.agreed = 0;
            self.send_first(renderer, out);
        }
        true
    }

    fn send_first(&mut self, renderer: &mut dyn StreamRenderer, out: &mut Vec<u8>) {
        if let Some(frame) = self.waiting.pop_front() {
            self.held -= frame.framed.raw.len();
            frame.send(renderer, out);
        }
    }

    /// Frames without events (a ping, a terminator) go out in their turn.
    fn release_silent(&mut self, renderer: &mut dyn StreamRenderer, out: &mut Vec<u8>) {
        while self
            .waiting
            .front()
            .is_some_and(|frame| frame.events.is_empty())
        {
            self.send_first(renderer, out);
        }
    }

    /// From here on the renderer writes, beginning with what was agreed of a
    /// frame that was not completed.
    pub fn part_ways(&mut self, renderer: &mut dyn StreamRenderer, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.differs, true) {
            return;
        }
        let agreed = std::mem::take(&mut self.agreed);
        if let Some(frame) = self.waiting.front() {
            renderer.events(&frame.events[..agreed], out);
        }
        self.waiting.clear();
        self.held = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::ErrorView;
    use crate::event::Fragment;
    use crate::frame::raw;

    /// Writes each text in brackets.
    #[derive(Default)]
    struct Brackets;

    impl StreamRenderer for Brackets {
        fn events(&mut self, events: &[ModelEvent], out: &mut Vec<u8>) {
            for event in events {
                if let ModelEvent::Text(f) = event {
                    out.extend_from_slice(format!("[{}]", f.text).as_bytes());
                }
            }
        }
        fn is_over(&self) -> bool {
            false
        }
        fn open(&mut self, _: &mut Vec<u8>) {}
        fn error(&mut self, _: &ErrorView<'_>, _: &mut Vec<u8>) {}
        fn finish(&mut self, _: &mut Vec<u8>) {}
    }

    fn text(text: &str) -> ModelEvent {
        ModelEvent::Text(Fragment {
            choice: 0,
            part: 0,
            text: text.to_owned(),
        })
    }

    /// Frames "ab" (two events), "-" (none), "c"; then what is passed on.
    fn written(passed: &[&[&str]]) -> (String, bool) {
        let mut verbatim = Verbatim::default();
        let mut out = Vec::new();
        let mut framed = vec![
            (raw(b"ab".to_vec()), vec![text("a"), text("b")]),
            (raw(b"-".to_vec()), vec![]),
            (raw(b"c".to_vec()), vec![text("c")]),
        ];
        for batch in passed {
            let events: Vec<_> = batch.iter().map(|t| text(t)).collect();
            verbatim.write(
                std::mem::take(&mut framed),
                &events,
                &mut Brackets,
                &mut out,
            );
        }
        let whole = verbatim.finish(&mut Brackets, &mut out);
        (String::from_utf8(out).unwrap(), whole)
    }

    #[test]
    fn frames_are_sent_until_the_first_difference() {
        assert_eq!(written(&[&["a", "b", "c"]]), ("ab-c".into(), true));
        assert_eq!(written(&[&[], &["a"], &["b", "c"]]), ("ab-c".into(), true));
        assert_eq!(written(&[&["a", "X", "c"]]), ("[a][X][c]".into(), false));
        assert_eq!(written(&[&["a", "b", "X"]]), ("ab-[X]".into(), false));
        assert_eq!(written(&[&["a", "b"]]), ("ab-".into(), false));
        assert_eq!(written(&[&["a"]]), ("[a]".into(), false));
        assert_eq!(written(&[&["b", "a"]]), ("[b][a]".into(), false));
        assert_eq!(written(&[&["a", "b", "c", "d"]]), ("ab-c[d]".into(), false));
    }
}
