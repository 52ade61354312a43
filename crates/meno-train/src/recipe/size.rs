//! Sizes with a suffix, as on a command line.

/// Parses a number of tokens or bytes: `8192`, or with a suffix `8k`, `1M`, `4G` (powers of 1024).
pub fn size(text: &str) -> Result<usize, String> {
    let wrong = || "expected a whole number, which may end with k, M or G (8k is 8192)".to_owned();
    let lower = text.trim().to_ascii_lowercase();
    let bare = lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match bare.char_indices().last() {
        Some((at, 'k')) => (&bare[..at], 10),
        Some((at, 'm')) => (&bare[..at], 20),
        Some((at, 'g')) => (&bare[..at], 30),
        Some((at, 't')) => (&bare[..at], 40),
        _ => (bare, 0),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: usize = digits.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    number.checked_mul(1 << shift).ok_or_else(|| "the number is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", 0),
            ("8192", 8192),
            ("8k", 8192),
            ("8K", 8192),
            ("1M", 1 << 20),
            ("4G", 4 << 30),
            ("512MiB", 512 << 20),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["", "k", "-1", "+1", "1.5k", "8kk", "8 apples", "99999999999999G", "1e3"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
