//! What a memory begins with, page by page.

use std::collections::BTreeMap;

use super::Untied;

/// The pages that memory is put back by, in bytes: the smallest that a machine
/// has.
pub(in crate::plugin) const PAGE: usize = 4096;

/// So many empty pages between two that are not are kept with them.
const GAP: u32 = 16;

/// The most that is kept, in bytes: it lies beside the image itself, in the
/// file of the compiled component.
const MAX_IMAGE: usize = 32 << 20;

/// Pages, one after another, that do not begin empty.
pub(super) struct Run {
    /// The number of the first page.
    pub first: u32,
    pub bytes: Vec<u8>,
}

impl Run {
    /// The number of the page after the last.
    pub fn end(&self) -> u32 {
        self.first + (self.bytes.len() / PAGE) as u32
    }
}

/// The runs of a memory that begins with pieces of data, each at its place.
pub(super) fn runs(data: &[(i32, &[u8])]) -> Result<Vec<Run>, Untied> {
    let mut pages: BTreeMap<u32, Box<[u8; PAGE]>> = BTreeMap::new();
    for (at, piece) in data {
        let (mut at, mut piece) = (at.cast_unsigned() as usize, *piece);
        while !piece.is_empty() {
            let (page, offset) = (at / PAGE, at % PAGE);
            let (now, rest) = piece.split_at(piece.len().min(PAGE - offset));
            let page = pages.entry(page as u32);
            let page = page.or_insert_with(|| Box::new([0; PAGE]));
            page[offset..offset + now.len()].copy_from_slice(now);
            (at, piece) = (at + now.len(), rest);
        }
        if pages.len() * PAGE > MAX_IMAGE {
            return Err(Untied::Changes("a large memory"));
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    for (number, page) in pages {
        match runs.last_mut() {
            Some(run) if number - run.end() <= GAP => {
                let gap = (number - run.end()) as usize * PAGE;
                run.bytes.resize(run.bytes.len() + gap, 0);
                run.bytes.extend_from_slice(&page[..]);
            }
            _ => runs.push(Run {
                first: number,
                bytes: page.to_vec(),
            }),
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_are_near_are_kept_together() {
        let far = PAGE as i32 * 100;
        let data: &[(i32, &[u8])] = &[
            (far - 2, b"over"),
            (1, b"one"),
            (2, b"w"),
            (PAGE as i32 * 17, b"later"),
            (7, b""),
        ];
        let runs = runs(data).unwrap();
        let places: Vec<_> = runs.iter().map(|run| (run.first, run.end())).collect();
        assert_eq!(places, [(0, 18), (99, 101)]);
        assert_eq!(&runs[0].bytes[..5], b"\0owe\0");
        assert_eq!(&runs[0].bytes[17 * PAGE..][..6], b"later\0");
        assert_eq!(&runs[1].bytes[PAGE - 3..PAGE + 3], b"\0over\0");
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let large = vec![1; MAX_IMAGE + 1];
        assert!(runs(&[(0, &large)]).is_err());
        assert!(runs(&[(0, &large[..MAX_IMAGE])]).is_ok());
    }
}
