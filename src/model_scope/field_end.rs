//! Notices when the field `model` is complete, in an object that arrives in parts.

use super::model_field::is_model;

/// Follows the structure of an object, and looks at each byte once.
///
/// It checks no syntax. Its word is a reason to parse, not a result.
#[derive(Default)]
pub(super) struct FieldEnd {
    /// How many bytes were looked at.
    seen: usize,
    depth: usize,
    /// Where the string that is not closed yet begins, with its quote.
    string: Option<usize>,
    is_escaped: bool,
    /// Whether what follows in the outermost object is a value. Otherwise, it is a name.
    is_value: bool,
    /// Whether the last name in the outermost object was `model`.
    is_model: bool,
    /// Whether the end was found.
    is_over: bool,
}

impl FieldEnd {
    /// Returns, once, where the first top-level field `model` ends, or the object if it has none.
    ///
    /// `start` is all that has arrived.
    pub(super) fn find(&mut self, start: &[u8]) -> Option<usize> {
        if self.is_over {
            return None;
        }
        let from = self.seen;
        self.seen = start.len();
        let last = (from..start.len()).find(|at| self.ends_at(start, *at))?;
        self.is_over = true;
        Some(last + 1)
    }

    fn ends_at(&mut self, start: &[u8], at: usize) -> bool {
        let byte = start[at];
        let is_top = self.depth == 1;
        if let Some(quote) = self.string {
            let closes = byte == b'"' && !self.is_escaped;
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            if closes {
                self.string = None;
            }
            if closes && is_top && !self.is_value {
                self.is_model = is_model(&start[quote..=at]);
            }
            return closes && is_top && self.is_value && self.is_model;
        }
        match byte {
            b'"' => self.string = Some(at),
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            b':' if is_top => self.is_value = true,
            b',' if is_top => {
                self.is_value = false;
                return self.is_model;
            }
            _ => {}
        }
        false
    }
}
