//! Merkle roots of a block whose first transaction, the coinbase, may still change.
//!
//! The tree is hsd's (bcrypto lib/mrkl.js): a leaf is blake2b(00 ‖ id), a node is blake2b(01 ‖ left ‖
//! right), and a missing right child is the hash of the empty string, not a copy of the left one. A whole
//! tree is never kept: the branch beside the first leaf is enough.

use crate::units::Hash;

/// The nodes that, hashed with the first leaf one after the other, give the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch(Vec<Hash>);

impl Branch {
    /// The branch beside leaf 0 of a tree whose other leaves are `leaves`, in their order. Each is
    /// a raw transaction id or witness hash. No leaves: the first one is alone, the branch empty.
    #[must_use]
    pub fn of_first(leaves: impl IntoIterator<Item = Hash>) -> Self {
        let mut level: Vec<Hash> = leaves.into_iter().map(|leaf| hash_leaf(&leaf)).collect();
        let missing = Hash::blake2b(&[]);
        let mut branch = Vec::new();
        // `level` lacks the node above leaf 0, whose sibling is therefore the first one here.
        while let Some((sibling, rest)) = level.split_first() {
            branch.push(*sibling);
            let pairs = rest.chunks(2);
            level = pairs
                .map(|pair| hash_node(&pair[0], pair.get(1).unwrap_or(&missing)))
                .collect();
        }
        Self(branch)
    }

    /// The branch of these nodes, from the sibling of leaf 0 up.
    #[must_use]
    pub fn of_nodes(nodes: Vec<Hash>) -> Self {
        Self(nodes)
    }

    /// Its nodes, from the sibling of leaf 0 up.
    #[must_use]
    pub fn nodes(&self) -> &[Hash] {
        &self.0
    }

    /// The root of the tree with `first`, a raw id, as leaf 0.
    #[must_use]
    pub fn root(&self, first: &Hash) -> Hash {
        let leaf = hash_leaf(first);
        self.0
            .iter()
            .fold(leaf, |node, sibling| hash_node(&node, sibling))
    }
}

fn hash_leaf(id: &Hash) -> Hash {
    Hash::blake2b(&[&[0], &id.0])
}

fn hash_node(left: &Hash, right: &Hash) -> Hash {
    Hash::blake2b(&[&[1], &left.0, &right.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as bcrypto builds it, level by level.
    fn root_of(leaves: &[Hash]) -> Hash {
        let mut level: Vec<Hash> = leaves.iter().map(hash_leaf).collect();
        let missing = Hash::blake2b(&[]);
        while level.len() > 1 {
            level = level
                .chunks(2)
                .map(|pair| hash_node(&pair[0], pair.get(1).unwrap_or(&missing)))
                .collect();
        }
        level[0]
    }

    #[test]
    fn branch_gives_the_root_of_the_whole_tree() {
        let leaves: Vec<Hash> = (0..70).map(|i| Hash([i; 32])).collect();
        for count in 1..=leaves.len() {
            let branch = Branch::of_first(leaves[1..count].iter().copied());
            let root = branch.root(&leaves[0]);
            assert_eq!(root, root_of(&leaves[..count]), "{count} leaves");
        }
    }
}
