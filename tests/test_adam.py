"""Adam for one tensor steps as torch's own does."""

import torch
from fev.codec.fit.adam import Adam


def test_it_steps_as_torch_does():
    torch.manual_seed(0)
    mine, theirs = torch.randn(5, 3), torch.zeros(5, 3)
    theirs.copy_(mine)
    theirs.requires_grad_()
    adam, known = Adam(mine, (0.7, 0.95)), torch.optim.Adam([theirs], betas=(0.7, 0.95))
    for step in range(20):
        gradient = torch.randn(5, 3)
        for group in known.param_groups:
            group["lr"] = 0.1 / (step + 1)
        theirs.grad = gradient.clone()
        known.step()
        adam.step(gradient, 0.1 / (step + 1))
    torch.testing.assert_close(mine, theirs.detach())
