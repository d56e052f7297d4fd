//! Words are found where a search of what the strings say finds them.

use super::scan::Random;
use super::*;

/// Which words stand in these strings, of which each is a body of its own.
fn found(strings: &[Json], words: &[&str]) -> Vec<bool> {
    let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
    let nodes = strings.iter().map(|string| string.root().unwrap());
    find_words(nodes, &words)
}

#[test]
fn words_are_found_in_what_strings_say() {
    let mut random = Random(0x5eed);
    let words = [
        "wordPLAIN",
        "naa",
        "a\na",
        "\"a",
        "\\",
        "/",
        "tEXT word",
        "éa",
        "b",
        "",
        "nowhere",
    ];
    let mut counts = [0; 11];
    for _ in 0..3_000 {
        let strings: Vec<_> = (0..random.below(6)).map(|_| random.string(6)).collect();
        let strings: Vec<_> = strings.into_iter().map(|s| Json::new(s.into())).collect();
        let said: String = strings.iter().map(|s| s.string("").unwrap()).collect();
        let said = said.to_ascii_lowercase();
        // One that has to be put together first makes the others wait for it.
        for words in [&words[..], &words[..2]] {
            let expected: Vec<_> = words
                .iter()
                .map(|word| said.contains(&word.to_ascii_lowercase()))
                .collect();
            assert_eq!(found(&strings, words), expected, "{said:?}");
            for (count, found) in counts.iter_mut().zip(expected) {
                *count += usize::from(found);
            }
        }
    }
    // Letters of escapes are none of what is said.
    let (never, sometimes): (Vec<_>, Vec<_>) = (0..)
        .zip(counts)
        .partition(|(at, _)| ["naa", "b", "nowhere"].contains(&words[*at]));
    assert!(never.iter().all(|(_, count)| *count == 0), "{counts:?}");
    assert!(sometimes.iter().all(|(_, count)| *count > 50), "{counts:?}");
}

#[test]
fn words_are_found_wherever_they_stand() {
    let word = "Needle".repeat(40);
    for place in (0..17_000).step_by(97).chain(7_900..8_300) {
        let body = format!("\"{}{word}{}\"", "x".repeat(place), "y".repeat(300));
        assert_eq!(
            found(&[Json::new(body.into())], &[&word, "NeedleNeedley", "xyz"]),
            [true, true, false],
            "{place}"
        );
        let parts = [&"x".repeat(place), &word[..100], &word[100..]];
        let parts = parts.map(|part| Json::new(format!("\"{part}\"").into()));
        assert_eq!(found(&parts, &[&word]), [true], "{place}");
    }
}
