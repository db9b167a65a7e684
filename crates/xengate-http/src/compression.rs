//! Content codings, and what they make of a body.

use std::io::{self, Write};

use flate2::write::GzEncoder;

/// Fast levels: a list is compressed anew whenever something in it changes.
const ZSTD_LEVEL: i32 = 3;
const BROTLI_QUALITY: u32 = 3;
/// A window of 4 MB: lists repeat themselves over long distances.
const BROTLI_WINDOW: u32 = 22;
const GZIP_LEVEL: u32 = 3;

/// How a body may be compressed, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `zstd`
    Zstd,
    /// `br`
    Brotli,
    /// `gzip`
    Gzip,
}

impl Encoding {
    /// All of them, best first.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// What `plain` becomes with this coding.
pub(super) fn compress(encoding: Encoding, plain: &[u8]) -> io::Result<Vec<u8>> {
    match encoding {
        Encoding::Zstd => zstd::bulk::compress(plain, ZSTD_LEVEL),
        Encoding::Brotli => {
            let out = Vec::with_capacity(plain.len() / 8 + 64);
            let mut writer =
                brotli::CompressorWriter::new(out, 64 << 10, BROTLI_QUALITY, BROTLI_WINDOW);
            writer.write_all(plain)?;
            writer.flush()?;
            Ok(writer.into_inner())
        }
        Encoding::Gzip => {
            let out = Vec::with_capacity(plain.len() / 8 + 64);
            let mut writer = GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL));
            writer.write_all(plain)?;
            writer.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coding_can_be_undone() {
        let record = br#"{"uuid":"0f5c1d5a-9c2c-4b1c-9d1c-0123456789ab","power_state":"Running"},"#;
        for plain in [Vec::new(), b"x".to_vec(), record.repeat(2000)] {
            for encoding in Encoding::ALL {
                let packed = compress(encoding, &plain).expect("memory");
                let mut unpacked = Vec::new();
                match encoding {
                    Encoding::Zstd => zstd::stream::copy_decode(&*packed, &mut unpacked),
                    Encoding::Gzip => {
                        io::copy(&mut flate2::read::GzDecoder::new(&*packed), &mut unpacked)
                            .map(drop)
                    }
                    Encoding::Brotli => brotli::BrotliDecompress(&mut &*packed, &mut unpacked),
                }
                .expect("what was compressed");
                assert_eq!(unpacked, plain, "{encoding:?}");
                assert!(plain.len() < 1000 || packed.len() < plain.len() / 20, "{encoding:?}");
            }
        }
    }
}
