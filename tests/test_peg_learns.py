"""The headline, really run: a 7-joint arm learns to insert the peg at four places within 100 episodes."""

from pathlib import Path

import gps

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "peg_insertion"


def test_the_peg_is_inserted_at_all_four_places(tmp_path):
    run = gps.run(EXPERIMENT, seed=0, out=tmp_path)
    assert [condition.solved for condition in run.evaluation_rows()] == [True] * 4
    assert sum(record.rollouts.states.shape[0] * record.rollouts.states.shape[1] for record in run.iterations) <= 100
