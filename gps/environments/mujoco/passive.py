"""Find the joints without an actuator, and the joints that no action can move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import mujoco
import numpy as np

from gps.environments.contract import Floats
from gps.environments.mujoco.names import joint_slice

_Obj, _Trn, _Wrap, _Eq = mujoco.mjtObj, mujoco.mjtTrn, mujoco.mjtWrap, mujoco.mjtEq


def find_passive(model: mujoco.MjModel) -> list[str]:
    """The names of the joints that no actuator moves, neither directly nor by coupling; "joint 3" for one without name.

    Joints of one kinematic tree are coupled, and trees are by constraints, by tendons and where their geoms may touch.
    """
    if model.nflex:  # its vertices couple whatever they touch
        return []
    driven = {tree for i in range(model.nactuator) for tree in _list_driven_trees(model, i)}
    groups = [set(group) for group in _list_couplings(model)]
    grows = True
    while grows:
        reached = driven.union(*(group for group in groups if group & driven))
        driven, grows = reached, reached != driven
    return _list_names(model, np.isin(model.body_treeid[model.jnt_bodyid], list(driven)))


def find_unactuated(model: mujoco.MjModel) -> list[str]:
    """The names of the joints that no actuator acts on directly, such as a pole on a cart or the linkage of a gripper.

    A joint that a constraint makes follow another one counts with it.
    """
    data = mujoco.MjData(model)
    anywhere = np.random.default_rng(0).uniform(-0.1, 0.1, model.nv)  # in the reference pose a moment may vanish
    mujoco.mj_integratePos(model, data.qpos, anywhere, 1.0)
    mujoco.mj_fwdPosition(model, data)
    moment: Floats = np.zeros((model.nout, model.nv))
    mujoco.mju_sparse2dense(moment, data.actuator_moment, data.moment_rownnz, data.moment_rowadr, data.moment_colind)
    actuated = np.zeros(model.njnt, dtype=bool)
    for joint in range(model.njnt):
        actuated[joint] = moment[:, joint_slice(model, "qvel", joint)].any()
    pairs = np.stack([model.eq_obj1id, model.eq_obj2id], axis=1)[model.eq_type == _Eq.mjEQ_JOINT.value]
    for _ in pairs:
        for one, two in pairs[(pairs >= 0).all(axis=1)]:
            actuated[[one, two]] = actuated[one] or actuated[two]
    return _list_names(model, actuated)


def _list_names(model: mujoco.MjModel, moved: np.ndarray) -> list[str]:
    """The names of the joints that are not `moved`, (njnt,) bool."""
    return [model.joint(joint).name or f"joint {joint}" for joint in np.flatnonzero(~moved).tolist()]


def _list_driven_trees(model: mujoco.MjModel, actuator: int) -> Iterable[int]:
    """The trees that an actuator acts on."""
    kind, (one, two) = _Trn(model.actuator_trntype[actuator]), model.actuator_trnid[actuator]
    if kind in (_Trn.mjTRN_JOINT, _Trn.mjTRN_JOINTINPARENT):
        return _list_trees(model, [model.jnt_bodyid[one]])
    if kind == _Trn.mjTRN_TENDON:
        return _list_tendon_trees(model, one)
    if kind == _Trn.mjTRN_BODY:
        return _list_trees(model, [one])
    return _list_trees(model, [model.site_bodyid[site] for site in (one, two) if site >= 0])


def _list_couplings(model: mujoco.MjModel) -> Iterator[Iterable[int]]:
    """The groups of trees that act on each other."""
    for tendon in range(model.ntendon):
        yield _list_tendon_trees(model, tendon)
    for i in range(model.neq):
        kind, ends = _Eq(model.eq_type[i]), [model.eq_obj1id[i], model.eq_obj2id[i]]
        ends = [end for end in ends if end >= 0]
        if kind == _Eq.mjEQ_TENDON:
            yield [tree for tendon in ends for tree in _list_tendon_trees(model, tendon)]
        elif kind == _Eq.mjEQ_JOINT:
            yield _list_trees(model, [model.jnt_bodyid[joint] for joint in ends])
        else:
            sited = model.eq_objtype[i] == _Obj.mjOBJ_SITE.value
            yield _list_trees(model, [model.site_bodyid[end] if sited else end for end in ends])
    if not model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_CONTACT.value:
        touching = (model.geom_contype[:, None] & model.geom_conaffinity) != 0
        for one, two in np.argwhere(touching | touching.T):
            yield _list_trees(model, [model.geom_bodyid[one], model.geom_bodyid[two]])
        for one, two in zip(model.pair_geom1, model.pair_geom2, strict=True):
            yield _list_trees(model, [model.geom_bodyid[one], model.geom_bodyid[two]])


def _list_tendon_trees(model: mujoco.MjModel, tendon: int) -> list[int]:
    """The trees that a tendon touches."""
    first = model.tendon_adr[tendon]
    bodies = []
    for i in range(first, first + model.tendon_num[tendon]):
        kind, thing = _Wrap(model.wrap_type[i]), model.wrap_objid[i]
        if kind == _Wrap.mjWRAP_JOINT:
            bodies.append(model.jnt_bodyid[thing])
        elif kind == _Wrap.mjWRAP_SITE:
            bodies.append(model.site_bodyid[thing])
        elif kind in (_Wrap.mjWRAP_SPHERE, _Wrap.mjWRAP_CYLINDER):
            bodies.append(model.geom_bodyid[thing])
    return _list_trees(model, bodies)


def _list_trees(model: mujoco.MjModel, bodies: Iterable[int]) -> list[int]:
    """The trees of bodies, without that of a body that does not move."""
    return [tree for body in bodies if (tree := int(model.body_treeid[body])) >= 0]
