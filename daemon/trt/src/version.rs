//! Which TensorRT was found, and whether its binary interface is known.

use std::fmt;

/// A major release whose interface is in the slot table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Major {
    /// TensorRT 8: JetPack 4.6 to 6.0.
    V8,
    /// TensorRT 10: JetPack 6.1 to 7.2.
    V10,
    /// TensorRT 11.
    V11,
}

impl Major {
    /// Every known major, newest first: the order in which libraries are looked for.
    pub const NEWEST_FIRST: [Self; 3] = [Self::V11, Self::V10, Self::V8];

    /// The number in the library's file name.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::V8 => 8,
            Self::V10 => 10,
            Self::V11 => 11,
        }
    }

    /// The first and the last minor whose headers the slot table was compared with. Functions are only
    /// appended within a major, so what lies between two equal ends is equal too.
    const fn compared_minors(self) -> (u32, u32) {
        match self {
            Self::V8 => (0, 6),
            Self::V10 => (0, 14),
            Self::V11 => (0, 4),
        }
    }
}

/// A TensorRT version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Major release.
    pub major: Major,
    /// Minor release.
    pub minor: u32,
    /// Patch release.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major.number(), self.minor, self.patch)
    }
}

impl Version {
    /// Decodes the word that `getInferLibVersion` returns: major * 1000 + minor * 100 + patch up to 9,
    /// major * 10000 + minor * 100 + patch from 10 on.
    /// `None` for a major outside 8, 10 and 11.
    #[must_use]
    pub fn from_word(word: i32) -> Option<Self> {
        let word = u32::try_from(word).ok()?;
        let (major, rest) =
            if word < 10_000 { (word / 1000, word % 1000) } else { (word / 10_000, word % 10_000) };
        let major = match major {
            8 => Major::V8,
            10 => Major::V10,
            11 => Major::V11,
            _ => return None,
        };
        Some(Self { major, minor: rest / 100, patch: rest % 100 })
    }

    /// What a reader should know when this minor's headers were never compared with the slot table.
    #[must_use]
    pub fn warning(self) -> Option<String> {
        let (major, (first, last)) = (self.major.number(), self.major.compared_minors());
        (!(first..=last).contains(&self.minor)).then(|| {
            format!(
                "TensorRT {self} is outside the releases whose interface clipmark was compared with \
                 ({major}.{first} to {major}.{last}); a major only appends to its interface, but hold the \
                 outputs against another backend once: clipmarkd check --selftest"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_words_of_every_supported_release_are_decoded() {
        for (word, shown) in [
            (8001, "8.0.1"),
            (8502, "8.5.2"),
            (8602, "8.6.2"),
            (100_300, "10.3.0"),
            (101_301, "10.13.1"),
            (110_400, "11.4.0"),
        ] {
            assert_eq!(Version::from_word(word).expect("supported").to_string(), shown);
        }
    }

    #[test]
    fn other_majors_are_not_known() {
        for word in [5105, 7103, 9200, 120_000, 0, -1] {
            assert_eq!(Version::from_word(word), None);
        }
    }

    #[test]
    fn a_minor_that_was_never_compared_is_warned_of() {
        assert_eq!(Version::from_word(8502).expect("supported").warning(), None);
        let warning = Version::from_word(119_900).expect("supported").warning().expect("unknown minor");
        assert!(warning.contains("11.99.0"), "{warning}");
    }
}
