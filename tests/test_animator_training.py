"""The training kit of the animator: a step, and checkpoints there and back."""

import torch
from fev.codec.model.animator import Animator
from fev.tools.lab.animator import checkpoint
from fev.tools.lab.animator.judge import Judge
from fev.tools.lab.animator.pairs import Batch
from fev.tools.lab.animator.train import Training, orthogonal


class Drawn:
    """In place of `Pairs`: noise."""

    def draw(self, n):
        pictures = torch.rand(3, n, 3, 256, 256) * 2 - 1
        return Batch(*pictures, torch.ones(n))


def test_a_step_moves_the_weights_and_its_figures_are_numbers(one_thread):
    torch.manual_seed(0)
    training = Training(torch.device("cpu"), 1e-3)
    before = [p.clone() for p in (training.animator.directions, training.judge.out.weight)]
    figures = training.turn(Drawn(), 4, 64, 1.0)  # the first has R1
    training.turn(Drawn(), 4, 64, 1.0)
    assert set(figures) == {"judge", "real", "drawn", "loss", "error"}
    assert all(torch.isfinite(v) for v in figures.values()) and training.step == 2
    for old, new in zip(before, (training.animator.directions, training.judge.out.weight)):
        assert not torch.equal(old, new)


def test_a_slim_checkpoint_comes_back(tmp_path):
    torch.manual_seed(0)
    animator, judge = Animator(), Judge()
    notes = {"step": 7, "minutes": {"64": 1.5}}
    for rows, tolerance in ((False, 1e-3), (True, 2e-2)):
        folder = tmp_path / str(rows)
        folder.mkdir()
        checkpoint.write_slim(folder, animator, judge, notes, rows)
        weights, other, found = checkpoint.read_slim(folder)
        assert found == notes and all(path.stat().st_size < 16 << 20 for path in folder.iterdir())
        for module, read in ((animator, weights), (judge, other)):
            state = module.state_dict()
            assert read.keys() == state.keys()
            for name, value in state.items():
                bound = tolerance * max(1.0, float(value.abs().max()))
                torch.testing.assert_close(read[name], value, rtol=0, atol=bound)


def test_orthogonal_directions_cost_nothing():
    assert orthogonal(torch.eye(35, 40).view(35, 4, 10)) == 0
    assert orthogonal(torch.ones(35, 4, 10)) > 0.9
