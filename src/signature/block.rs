//! The clear-signed block of a manifest, cut out of the text around it (RFC 9580 section 7).
//!
//! *Invariant:* the text that is handed on is one block from its first to its last line; what stands around it is never
//! checked again.
//! *Not for:* whether the signature is good.

use pgp::{composed::CleartextSignedMessage, packet::Signature};

use super::error::SignatureError;

/// The longest manifest, in bytes.
const MAX_LENGTH: usize = 4 << 20;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// A text and its one signature, which is not verified.
#[derive(Debug)]
pub(super) struct SignedBlock(CleartextSignedMessage);

impl SignedBlock {
    /// Reads the one block in a manifest.
    pub(super) fn read(manifest: &[u8]) -> Result<Self, SignatureError> {
        if manifest.len() > MAX_LENGTH {
            return Err(SignatureError::TooLong(MAX_LENGTH));
        }
        let text = str::from_utf8(manifest).map_err(|_| SignatureError::Encoding)?;
        let (message, _) =
            CleartextSignedMessage::from_string(cut(text)?).map_err(|error| SignatureError::Block(error.into()))?;
        match message.signatures().len() {
            1 => Ok(Self(message)),
            count => Err(SignatureError::Signatures(count)),
        }
    }

    /// Returns the signature.
    pub(super) fn signature(&self) -> &Signature {
        &self.0.signatures()[0]
    }

    /// Returns the text in the form that was signed: the only form that may be trusted after verification.
    pub(super) fn text(&self) -> String {
        self.0.signed_text()
    }
}

/// Returns the block with its first and last line; a second line that could start or end a block is refused.
fn cut(text: &str) -> Result<&str, SignatureError> {
    let (mut found, mut offset, mut span) = (Vec::new(), 0, 0..0);
    for line in text.split_inclusive('\n') {
        let mark = line.trim_end();
        if mark.starts_with("-----BEGIN PGP") || mark.starts_with("-----END PGP") {
            if found.is_empty() {
                span.start = offset;
            }
            span.end = offset + line.len();
            found.push(mark);
        }
        offset += line.len();
    }
    match found[..] {
        [BEGIN, SIGNATURE, END] => Ok(&text[span]),
        _ if found.iter().filter(|mark| **mark == BEGIN || **mark == SIGNATURE).count() > 2 => {
            Err(SignatureError::SeveralBlocks)
        }
        _ => Err(SignatureError::NotSigned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_the_block_is_cut_off() {
        let block = format!("{BEGIN}\nHash: SHA512\n\n{{}}\n{SIGNATURE}\r\n\r\nabc\r\n{END}\r\n");
        for text in
            [block.clone(), format!("\n{block}"), format!("{{\"plugin\":1}}\n{block}{{}}\n"), format!("{block} x")]
        {
            assert_eq!(cut(&text).expect("one block"), block, "{text:?}");
        }
        assert_eq!(cut(block.trim_end()).expect("no last line end"), block.trim_end());
    }

    #[test]
    fn two_blocks_and_halves_of_one_are_refused() {
        let block = format!("{BEGIN}\n\n{{}}\n{SIGNATURE}\n\nabc\n{END}\n");
        let second_signature = format!("{block}{SIGNATURE}\n\nabc\n{END}\n");
        for text in [block.repeat(2), second_signature, format!("{BEGIN}\n{block}")] {
            assert!(matches!(cut(&text), Err(SignatureError::SeveralBlocks)), "{text:?}");
        }
        for text in
            ["", "{}", &block[1..], &block.replace(END, ""), &format!("{block}-----END PGP PUBLIC KEY BLOCK-----")]
        {
            assert!(matches!(cut(text), Err(SignatureError::NotSigned)), "{text:?}");
        }
    }

    #[test]
    fn a_manifest_is_bounded() {
        assert!(matches!(SignedBlock::read(&vec![b'-'; MAX_LENGTH + 1]), Err(SignatureError::TooLong(_))));
        assert!(matches!(SignedBlock::read(b"\xff"), Err(SignatureError::Encoding)));
    }
}
