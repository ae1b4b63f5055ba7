"""Experiment files: defaults, overrides, round trips, and one line for everything that is wrong."""

import contextlib
import datetime

import pytest
from helpers.records import EXPERIMENT, config

from gps.config import ExperimentConfig, load, parse, replace_settings
from gps.config.algorithms.local import TrajOptConfig
from gps.config.controller import ControllerConfig, LQRInitialConfig
from gps.config.cost import QuadraticCostConfig
from gps.config.dynamics import DynamicsConfig, MixturePriorConfig
from gps.config.section import Section
from gps.errors import ConfigError

MINIMAL = """
[environment]
id = "gps/PointMass-v0"
[[cost]]
name = "quadratic"
"""


def complaint(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "e/experiment.toml", overrides)
    return str(caught.value)


# -- what is right ---------------------------------------------------------------------------------------------------


def test_every_key_has_a_default():
    minimal = parse(MINIMAL)
    assert minimal.algorithm.iterations == 10
    assert minimal.algorithm.dynamics.prior.name == "gmm"
    assert minimal.environment.conditions == ({},)
    assert minimal.algorithm.controller.initial.name == "hold"
    assert minimal.cost[0].ramp == "constant"


ROUND_TRIPS = {
    "minimal": [],
    "kinds": [
        "algorithm.dynamics.prior.name=none",
        "algorithm.controller.initial={name='file', path='runs/a', iteration=3}",
    ],
    "costs": ["cost=[{name='distance', on=['site_position:a-b']}, {name='quadratic', weight=[1, 2]}, {name='task'}]"],
    "conditions": [
        "environment.conditions=[{}, {slot=[0.1, -0.2], body_mass={a=1.5}}, {model={geom_size={g=[1,2,3]}}}]"
    ],
    "text": ["description='''a \"b\" \\\\ é\n\t[x]'''", "environment.options={a={b=[1, {c=2}]}, d=1979-05-27}"],
    "numbers": ["algorithm.kl_step=1e-9", "algorithm.entropy=0.1", "algorithm.dynamics.ridge=0"],
    "robot": ["environment={id='a', sampling='one_at_a_time', action_limits=[-1, [1, 2]], abort='f', step_timeout=2}"],
    "success": ["environment.success={distance='tip-[0, 0, 1]', within=0.02, from=0.5}"],
    "success at the end": ["environment.success={distance='tip-goal', within=1}"],
    "mjcf": ["environment={mjcf='a/b.xml', state=['qpos', 'qvel'], frame_skip=2, horizon=2, threads=1}"],
}


@pytest.mark.parametrize("overrides", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
def test_round_trip(overrides, tmp_path):
    original = parse(MINIMAL, overrides=overrides)
    (tmp_path / "experiment.toml").write_text(original.to_toml(), encoding="utf-8")
    assert load(tmp_path) == load(tmp_path / "experiment.toml") == original
    assert load(tmp_path).to_toml() == original.to_toml()


def test_the_resolved_file_is_complete():
    text = parse(MINIMAL, overrides=["algorithm.controller={initial='lqr', smoothing=1}"]).to_toml()
    for kind in (TrajOptConfig, DynamicsConfig, MixturePriorConfig, ControllerConfig, LQRInitialConfig,
                 QuadraticCostConfig):  # fmt: skip
        for key in kind.model_fields:
            assert f"{key} = " in text or f".{key}]" in text


def subclasses(kind):
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_every_key_is_documented():
    kinds = subclasses(Section)
    assert len(kinds) > 40
    for kind in kinds:
        assert kind.__doc__
        for name, field in kind.model_fields.items():
            section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
            assert name == "name" or field.description or section, f"{kind.__name__}.{name}"


def test_the_config_is_immutable():
    with pytest.raises(ValueError, match="frozen"):
        config().seed = 3  # type: ignore[misc]


def test_overrides():
    changed = config(
        "seed=3",
        "algorithm.kl_step=2",
        "algorithm.solver=gradient",
        'description="3"',
        "environment.conditions.1.a=[1]",
        "cost.0.weight=[1, 2.5]",
        "algorithm.step_multiplier = {max = 20}",
        "environment.options.deep.er=x y",
    )
    assert changed.seed == 3
    assert changed.algorithm.kl_step == 2.0
    assert isinstance(changed.algorithm.kl_step, float)
    assert changed.algorithm.solver == "gradient"
    assert changed.description == "3"
    assert changed.environment.conditions == ({}, {"qpos": [0.6, 0.2], "a": [1]})
    assert changed.cost[0].weight == (1.0, 2.5)
    assert changed.algorithm.step_multiplier.max == 20
    assert changed.environment.options == {"deep": {"er": "x y"}}


def test_naming_another_kind_drops_the_keys_of_the_old_one():
    text = MINIMAL + "on = 'action'\n[algorithm.dynamics.prior]\nclusters = 3\nname = 'gmm'\n"
    assert parse(text, overrides=["algorithm.dynamics.prior.name=none"]).algorithm.dynamics.prior.name == "none"
    assert parse(text, overrides=["algorithm.dynamics.prior.name=gmm"]).algorithm.dynamics.prior.clusters == 3
    assert parse(text, overrides=["cost.0.name=task", "cost.0.function=f"]).cost[0].function == "f"


def test_a_name_may_be_left_out_where_there_is_a_usual_one():
    changed = parse(
        MINIMAL, overrides=["algorithm.dynamics.prior.clusters=3", "algorithm.controller.initial.spread=0.5"]
    )
    assert changed.algorithm.dynamics.prior.clusters == 3
    assert changed.algorithm.controller.initial.spread == 0.5


def test_a_number_of_test_conditions_stands_for_the_seeds_that_follow():
    text = '[environment]\nid = "Reacher-v5"\nconditions = [{ seed = 4 }, { seed = 7 }]\ntest_conditions = 2'
    config = parse(text)
    assert config.environment.test_conditions == ({"seed": 8}, {"seed": 9})
    assert parse(config.to_toml()) == config
    assert parse('environment = { id = "Reacher-v5", conditions = 2 }').environment.test_conditions == ()


def test_a_number_of_conditions_stands_for_seeds():
    seeded = parse(MINIMAL, overrides=["environment.conditions=3"])
    assert seeded.environment.conditions == ({"seed": 0}, {"seed": 1}, {"seed": 2})
    assert parse(seeded.to_toml()) == seeded


def test_replace_settings():
    assert replace_settings(config()) == config()
    changed = replace_settings(config(), seed=5, iterations=7)
    assert (changed.seed, changed.algorithm.iterations) == (5, 7)
    with pytest.raises(ConfigError, match="expected an integer >= 1, got 0"):
        replace_settings(config(), iterations=0)


def test_options_keep_what_toml_has():
    assert config("environment.options.d=1979-05-27").environment.options == {"d": datetime.date(1979, 5, 27)}


# -- what is wrong ---------------------------------------------------------------------------------------------------

WRONG = {  # an override -> what is said of it
    "algorithm.kl_stp=2": "algorithm.kl_stp: unknown key; did you mean 'kl_step'?",
    "algoritm.samples=2": "algoritm: unknown key; did you mean 'algorithm'?",
    "algorithm.zzz=2": "algorithm.zzz: unknown key; known are name, options, iterations, samples, on_trouble, "
    "controller, kl_step, step_multiplier, constraint, solver, entropy, dynamics, imagined, imagined_samples, "
    "imagined_fit",
    "algorithm.samples=five": 'algorithm.samples: expected an integer >= 1, got "five"',
    "algorithm.samples=0": "algorithm.samples: expected an integer >= 1, got 0",
    "algorithm.samples=5.0": "algorithm.samples: expected an integer >= 1, got 5.0",
    "algorithm.samples=true": "algorithm.samples: expected an integer >= 1, got true",
    "algorithm.samples=[5]": "algorithm.samples: expected an integer >= 1, got [5]",
    "algorithm.kl_step=0": "algorithm.kl_step: expected a number >= 1e-09 and <= 1e+06, got 0",
    "algorithm.kl_step=nan": "algorithm.kl_step: expected a finite number >= 1e-09 and <= 1e+06, got NaN",
    "algorithm.entropy=inf": "algorithm.entropy: expected a finite number >= 0, got Infinity",
    "algorithm.kl_step='1'": 'algorithm.kl_step: expected a number >= 1e-09 and <= 1e+06, got "1"',
    "algorithm=3": "algorithm: expected a table, got 3",
    "seed=-1": "seed: expected an integer >= 0 and <= 4294967295, got -1",
    "description=3": "description: expected a string, got 3",
    "environment.id=": 'environment.id: expected a string that is not empty, got ""',
    "environment.horizon=1": "environment.horizon: expected an integer >= 2, got 1",
    "environment.mjcf=a.xml": "environment: give either id or mjcf, got both",
    "environment.conditions=[]": "environment.conditions: expected a list of tables, at least one, got []",
    "environment.test_conditions=0": "environment.test_conditions: expected a list of tables, or a number of seeds: an "
    "integer >= 1, got 0",
    "environment.test_conditions=[{}]": "environment: test_conditions.0: {} is also conditions.0, which is trained on",
    "environment.conditions=0": "environment.conditions: expected a list of tables, or a number of seeds: an "
    "integer >= 1, got 0",
    "environment.action_limits=[1]": "environment: action_limits: expected [lowest, highest], got 1 entries",
    "environment.confirm_reset=true": "environment: confirm_reset asks before each reset, which needs sampling = "
    '"one_at_a_time"',
    "environment.conditions=[1]": "environment.conditions.0: expected a table, got 1",
    "environment.state=qpos": 'environment.state: expected a list of strings, got "qpos"',
    "environment.frame_skip=5000": "environment.frame_skip: expected an integer >= 1 and <= 1000, got 5000",
    f"environment={{mjcf='{'m' * 5000}'}}": "environment.mjcf: expected a string that is not empty of at most 1,000 "
    f'characters, got "{"m" * 56}...',
    "environment.success={within=1}": "environment.success.distance: missing; expected a string that is not empty (the "
    "two points that shall meet: SITE-TARGET, or SITE-[x, y, z] in metres)",
    "environment.success={distance='a-b', within=0}": "environment.success.within: expected a number > 0, got 0",
    "environment.success={distance='a-b', within=1, from='lst'}": 'environment.success.from: expected "last" or "any" '
    'or a number >= 0, got "lst"',
    "environment.success={distance='a-b', within=1, zz=1}": "environment.success.zz: unknown key; known are "
    "distance, within, from",
    "algorithm.solver=secan": 'algorithm.solver: expected "secant" or "gradient", got "secan"; '
    "did you mean 'secant'?",
    "algorithm.controller.initial.name=qlr": 'algorithm.controller.initial.name: expected "hold", "lqr", "pd", '
    '"zero" or "file", got "qlr"; did you mean \'lqr\'?',
    "algorithm.controller.initial={name='file'}": "algorithm.controller.initial.path: missing; expected a string (a "
    "run directory, or an exported .npz of controllers, relative to the experiment's directory)",
    "algorithm.controller.initial={name='lqr', gain=[1, 'a']}": "algorithm.controller.initial.gain: expected a number "
    'or a list of numbers, got [1, "a"]',
    "algorithm.controller.initial.gain=2": 'algorithm.controller.initial.gain: "hold" has no such key; it is one of '
    '"lqr"',
    "algorithm.step_multiplier.min=4": "algorithm.step_multiplier: expected min <= initial <= max, got 4, 1, 2",
    "environment.conditions=[{a=1, b=2}, {}, {b=2, a=1}]": "environment: conditions.2: {'b': 2, 'a': 1} is also "
    "conditions.0; each must start in its own way",
    "environment.test_conditions=[{a=1}, {a=1}]": "environment: test_conditions.1: {'a': 1} is also test_conditions.0; "
    "each must start in its own way",
    "cost=[]": "cost: expected a list of tables, at least one, got []",
    "cost=[{}]": 'cost.0.name: missing; expected "quadratic", "rate", "distance", "saturating", "task" or "reward"',
    "cost.0.name=3": 'cost.0.name: expected "quadratic", "rate", "distance", "saturating", "task" or "reward", got 3',
    "cost.0.weight=[1, -2]": "cost.0.weight: expected a number >= 0 or a list of numbers >= 0, got [1, -2]",
    "cost.0.wieght=1": "cost.0.wieght: unknown key; did you mean 'weight'?",
    "cost=rewards": 'cost: expected a list of tables, or "reward" for the environment\'s own reward, got "rewards"',
    "cost.0.on=[]": "cost.0.on: expected a list of strings, at least one, got []",
}  # fmt: skip


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_value_is_one_line(override):
    assert complaint(MINIMAL, override) == f"--set {override}: {WRONG[override]}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "expected section.key=value"),
        ("=3", "expected section.key=value"),
        ("a..b=3", "expected section.key=value"),
        ("cost.1.weight=2", "cost is a list of 1, counted from 0; got '1'"),
        ("cost.last.weight=2", "cost is a list of 1, counted from 0; got 'last'"),
        ("environment.id.x=2", "environment.id is not a section"),
    ],
)
def test_an_override_of_nothing(override, message):
    assert complaint(MINIMAL, override) == f"--set {override}: {message}"


def test_the_file_is_named_and_everything_is_said():
    text = MINIMAL + "[algorithm]\nsamples = 'five'\nkl_stp = 1\n"
    assert complaint(text, "seed=x").splitlines() == [
        '--set seed=x: seed: expected an integer >= 0 and <= 4294967295, got "x"',
        'e/experiment.toml: algorithm.samples: expected an integer >= 1, got "five"',
        "e/experiment.toml: algorithm.kl_stp: unknown key; did you mean 'kl_step'?",
    ]
    assert complaint("") == ("e/experiment.toml: environment: missing; expected a table (with an id, or with mjcf)")
    assert complaint("[environment]\nmjcf = 'a.xml'") == (
        "e/experiment.toml: an environment.mjcf has no reward: define the cost in [[cost]] sections"
    )
    assert complaint(MINIMAL, "environment={}").startswith("--set environment={}: environment: give either id or mjcf")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = 1\nx = [1,\ny", "line 3, column 1: "),
        ("a = 1\na = 2\n", "line 2, column 6: cannot overwrite a value"),
        ("x = '''", "end of document: "),
        ("a = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_syntax_errors_have_a_line(text, message):
    assert complaint(text).startswith(f"e/experiment.toml: {message}")


@pytest.mark.parametrize("key", sorted(ExperimentConfig.model_fields))
@pytest.mark.parametrize(
    "value", ["3", "x", "[]", "[[]]", "{}", "{a=1}", "[{name={}}]", "[{name=[]}]", "1979-05-27", "nan", "true"]
)
def test_no_value_of_a_section_is_a_fault_of_ours(key, value):
    with contextlib.suppress(ConfigError):  # and nothing else
        parse(MINIMAL, overrides=[f"{key}={value}"])


def test_files(tmp_path):
    (tmp_path / "pointmass").mkdir()
    for path, message in [
        (tmp_path / "pointmas", "no such experiment; did you mean 'pointmass'?"),
        (tmp_path / "a/b", "no such experiment"),
        (tmp_path / "pointmass", "no experiment.toml in this directory"),
    ]:
        with pytest.raises(ConfigError, match=f"^{path}: {message.replace('?', '[?]')}$"):
            load(path)
    file = tmp_path / "pointmass/experiment.toml"
    for content, message in [
        (b"\n\n\xff", "line 3: not UTF-8 text"),
        (b"#" * (1 << 20) + b"\n", "larger than 1 MiB"),
    ]:
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=f"^{file}: {message}"):
            load(tmp_path / "pointmass")
    file.write_text(EXPERIMENT, encoding="utf-8")
    assert load(tmp_path / "pointmass") == config()


def test_a_very_long_value_is_cut():
    assert len(complaint(MINIMAL, f"algorithm.samples=[{'1,' * 5000}]").partition("got ")[2]) == 60


def test_paths_are_anchored(tmp_path):
    anchored = config("environment={mjcf='a.xml'}").anchor(tmp_path)
    assert anchored.environment.mjcf == str(tmp_path / "a.xml")
    assert anchored.anchor(tmp_path / "b") == anchored
    first = "algorithm.controller.initial={name='file', path='../runs/a'}"
    expert = "algorithm={name='dagger', expert={name='run', path='b'}}"
    assert config(first).anchor(tmp_path).algorithm.controller.initial.path == str(tmp_path.parent / "runs/a")
    assert config(expert).anchor(tmp_path).algorithm.expert.path == str(tmp_path / "b")
    assert config().anchor(tmp_path) == config()


# -- a bare name for a table -----------------------------------------------------------------------------------------

BARE = """
environment.id = "gps/PointMass-v0"
[algorithm]
name = "trajopt"
samples = 7
kl_step = 0.5
controller.initial = { name = "lqr", noise = 0.7 }
[[cost]]
name = "quadratic"
"""


@pytest.mark.parametrize("name", ["pd", "zero", "lqr"])
def test_a_bare_name_stands_for_a_table_with_it(name):
    expected = parse(BARE, overrides=[f"algorithm.controller.initial.name={name}"])
    assert parse(BARE, overrides=[f"algorithm.controller.initial={name}"]) == expected
    assert expected.algorithm.controller.initial.noise == (
        0.7 if name == "lqr" else expected.algorithm.controller.initial.noise
    )
    file = BARE.replace('{ name = "lqr", noise = 0.7 }', f'"{name}"')
    assert parse(file).algorithm.controller.initial.name == name
    further = parse(file, overrides=["algorithm.controller.initial.noise=0.2"])
    assert (further.algorithm.controller.initial.name, further.algorithm.controller.initial.noise) == (name, 0.2)


def test_a_bare_name_works_for_every_kind_of_table():
    changed = parse(BARE, overrides=["algorithm=pi2", "algorithm.iterations=3", "cost.0=distance"])
    assert (changed.algorithm.name, changed.algorithm.samples, changed.algorithm.iterations) == ("pi2", 7, 3)
    assert changed.algorithm.kl_step == 0.5 and changed.cost[0].name == "distance"
    assert parse(BARE, overrides=["algorithm.dynamics.prior=none"]).algorithm.dynamics.prior.name == "none"
    assert parse(BARE, overrides=["cost=reward"]).cost[0].name == "reward"
    top = parse('algorithm = "pi2"\ncost = ["quadratic"]\nenvironment.id = "gps/PointMass-v0"\n')
    assert (top.algorithm.name, top.cost[0].name) == ("pi2", "quadratic")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("algorithm.controller.initial=pdd", '"pdd"; did you mean'),
        ("algorithm.controller.initial=file", "path: missing; expected a string"),
        ("algorithm.controller.initial=3", "expected a table, got 3"),
        ("algorithm=trajop", "trajopt"),
    ],
)
def test_a_wrong_bare_name_is_explained(override, message):
    with pytest.raises(ConfigError) as caught:
        parse(BARE, overrides=[override])
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert f"--set {override}" in str(caught.value)


def test_a_wrong_bare_name_in_a_file_is_explained():
    for text, message in [
        ('"pdd"', 'algorithm.controller.initial: expected "hold", "lqr", "pd", "zero" or "file", got "pdd"'),
        ('"file"', "algorithm.controller.initial.path: missing; expected a string"),
    ]:
        with pytest.raises(ConfigError) as caught:
            parse(BARE.replace('{ name = "lqr", noise = 0.7 }', text))
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "overrides", "name"),
    [
        ("pilco", ["algorithm.model.iterations=2"], "gp"),
        ("mc_pilco", ["algorithm.model.iterations=2"], "gp"),
        ("mc_pilco", ["algorithm.model=neural"], "neural"),
        ("mc_pilco", ["algorithm.model.name=neural", "algorithm.model.members=3"], "neural"),
        ("mbrl", ["algorithm.model.members=3"], "neural"),
    ],
)
def test_a_model_without_a_name_is_the_usual_one_of_its_algorithm(tmp_path, algorithm, overrides, name):
    (tmp_path / "experiment.toml").write_text(
        f'[environment]\nid = "x"\n[algorithm]\nname = "{algorithm}"\n[[cost]]\nname = "quadratic"\n'
    )
    assert load(tmp_path, overrides).algorithm.model.name == name
