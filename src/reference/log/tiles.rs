//! The tree as static files (C2SP tlog-tiles): `tile/<L>/<N>[.p/<W>]` with 256
//! hashes each, and `tile/entries/<N>[.p/<W>]` with the entries, each after its
//! 16-bit length.

use super::{error::LogError, storage::Storage};
use gitseal_evidence::merkle::Hash;
use gitseal_services::merkle_tree::{MemoryTree, NodeSource as _};

/// The number of hashes of a full tile, and of entries of a full bundle.
const WIDTH: u64 = 256;
/// The number of tree levels in one level of tiles.
const HEIGHT: u8 = 8;

/// Formats a tile number: `x001/x234/067` for tile 1234067.
fn number(n: u64) -> String {
    let mut text = format!("{:03}", n % 1000);
    let mut rest = n / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    text
}

/// Returns the path of a tile of `width` entries; `what` is a level or `entries`.
fn path(what: &str, n: u64, width: u64) -> String {
    if width == WIDTH {
        format!("tile/{what}/{}", number(n))
    } else {
        format!("tile/{what}/{}.p/{width}", number(n))
    }
}

/// Returns number and width of the tiles of one level in a tree of `size` leaves.
fn tiles_of(level: u8, size: u64) -> impl Iterator<Item = (u64, u64)> {
    let hashes = size >> (u32::from(level) * u32::from(HEIGHT)).min(63);
    let full = hashes / WIDTH;
    let rest = hashes % WIDTH;
    (0..full)
        .map(|n| (n, WIDTH))
        .chain((rest > 0).then_some((full, rest)))
}

/// Returns the levels of tiles in a tree of `size` leaves.
fn levels(size: u64) -> impl Iterator<Item = u8> {
    (0..HEIGHT).take_while(move |level| size >> (u32::from(*level) * u32::from(HEIGHT)).min(63) > 0)
}

/// The coordinates of a tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    level: u8,
    n: u64,
    width: u64,
}

/// Returns the bytes of a tile that the tree contains.
pub(super) fn bytes(nodes: &MemoryTree, tile: Tile) -> Result<Vec<u8>, LogError> {
    let mut bytes = Vec::new();
    for nth in 0..tile.width {
        let index = tile.n.saturating_mul(WIDTH).saturating_add(nth);
        let hash: Hash = nodes
            .node(tile.level.saturating_mul(HEIGHT), index)
            .map_err(|_| LogError::NoEntry { index })?;
        bytes.extend(hash);
    }
    Ok(bytes)
}

/// Writes the tiles and bundles that a tree of `size` leaves has and one of `old`
/// leaves has not. Partial tiles that a full one replaces are removed.
pub(super) fn write(
    storage: &dyn Storage,
    hashes: &dyn Fn(Tile) -> Result<Vec<u8>, LogError>,
    old: u64,
    size: u64,
    leaf: &dyn Fn(u64) -> Result<Vec<u8>, LogError>,
) -> Result<(), LogError> {
    for level in levels(size) {
        let before = tiles_of(level, old).last();
        let first = before.map_or(0, |(n, _)| n);
        for (n, width) in tiles_of(level, size).filter(|(n, _)| *n >= first) {
            if before == Some((n, width)) {
                continue;
            }
            let bytes = hashes(Tile { level, n, width })?;
            storage.replace(&path(&level.to_string(), n, width), &bytes)?;
            if level == 0 {
                let mut bundle = Vec::new();
                for nth in 0..width {
                    let entry = leaf(n.saturating_mul(WIDTH).saturating_add(nth))?;
                    let length = u16::try_from(entry.len())
                        .map_err(|_| LogError::TooLong { bytes: entry.len() })?;
                    bundle.extend(length.to_be_bytes());
                    bundle.extend(entry);
                }
                storage.replace(&path("entries", n, width), &bundle)?;
            }
            if let Some((_, partial)) = before.filter(|(tile, width)| *tile == n && *width < WIDTH)
                && width == WIDTH
            {
                storage.remove(&path(&level.to_string(), n, partial))?;
                if level == 0 {
                    storage.remove(&path("entries", n, partial))?;
                }
            }
        }
    }
    Ok(())
}

/// Compares every full tile in the storage with the tree.
pub(super) fn check(storage: &dyn Storage, nodes: &MemoryTree) -> Result<(), LogError> {
    let size = nodes.size();
    for level in levels(size) {
        for (n, width) in tiles_of(level, size).filter(|(_, width)| *width == WIDTH) {
            let path = path(&level.to_string(), n, width);
            if let Some(found) = storage.read(&path)?
                && found != bytes(nodes, Tile { level, n, width })?
            {
                return Err(LogError::TileDiffers { path });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(path("0", 1_234_067, WIDTH), "tile/0/x001/x234/067");
        assert_eq!(path("entries", 0, 3), "tile/entries/000.p/3");
        assert_eq!(path("2", 1_000, WIDTH), "tile/2/x001/000");
    }

    #[test]
    fn a_tree_has_the_tiles_of_the_specification() {
        // C2SP tlog-tiles gives this example: 70,000 leaves.
        let level = |level| tiles_of(level, 70_000).collect::<Vec<_>>();
        assert_eq!(level(0).len(), 274);
        assert_eq!(level(0).last(), Some(&(273, 112)));
        assert_eq!(level(1), [(0, 256), (1, 17)]);
        assert_eq!(level(2), [(0, 1)]);
        assert_eq!(levels(70_000).count(), 3);
        assert_eq!(levels(0).count(), 0);
    }
}
