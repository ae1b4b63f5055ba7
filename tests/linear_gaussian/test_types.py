"""The pytrees of this library."""

import dataclasses

import equinox as eqx
import numpy as np

from gps.backend import jax
from gps.linear_gaussian.types import pytree


@pytree
class One:
    a: np.ndarray
    b: np.ndarray


@pytree
class Other:
    c: np.ndarray
    d: np.ndarray


@pytree
class Named:
    a: np.ndarray
    name: str = dataclasses.field(metadata={"static": True})


def test_the_class_is_part_of_the_structure():
    one, other = One(np.ones(2), np.zeros(3)), Other(np.ones(2), np.zeros(3))
    assert jax.tree.structure(one) != jax.tree.structure(other)
    kind = eqx.filter_jit(lambda tree: 1.0 if isinstance(tree, One) else 2.0)
    assert (float(kind(one)), float(kind(other))) == (1.0, 2.0)


def test_static_fields_are_part_of_the_structure():
    assert jax.tree.structure(Named(np.ones(2), "x")) != jax.tree.structure(Named(np.ones(2), "y"))
    assert jax.tree.structure(Named(np.ones(2), "x")) == jax.tree.structure(Named(np.zeros(3), "x"))
    twice = jax.tree.map(lambda array: 2 * array, Named(np.ones(2), "x"))
    assert twice.name == "x" and twice.a.tolist() == [2.0, 2.0]


def test_leaves_have_the_names_of_their_fields():
    ((path, leaf),) = jax.tree_util.tree_leaves_with_path(Named(np.ones(2), "x"))
    assert jax.tree_util.keystr(path) == ".a" and leaf.tolist() == [1.0, 1.0]
