"""BiSeNet: what every pixel of a face is (Yu et al. 2018), with the 19 labels of CelebAMask-HQ.

The paper searches the pose on its masks and compares its scores of drawn and true faces.  Keys as
in `79999_iter.pth`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 512
LABELS = (
    "background", "skin", "left brow", "right brow", "left eye", "right eye", "glasses", "left ear", "right ear",
    "earring", "nose", "mouth", "upper lip", "lower lip", "neck", "necklace", "clothes", "hair", "hat",
)  # fmt: skip
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class BasicBlock(nn.Module):
    """Of ResNet-18 (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)

        def layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1))

        self.layer1, self.layer2 = layer(64, 64, 1), layer(64, 128, 2)
        self.layer3, self.layer4 = layer(128, 256, 2), layer(256, 512, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at an eighth, a sixteenth and a 32nd of the side."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


class Attention(nn.Module):
    """Attention refinement module."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = ConvNorm(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(self.bn_atten(self.conv_atten(x.mean((2, 3), keepdim=True))))


class ContextPath(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet18()
        self.arm16, self.arm32 = Attention(256, 128), Attention(512, 128)
        self.conv_head32, self.conv_head16 = ConvNorm(128, 128), ConvNorm(128, 128)
        self.conv_avg = ConvNorm(512, 128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        eighth, sixteenth, last = self.resnet(x)

        def enlarged(y: Tensor, like: Tensor) -> Tensor:
            return F.interpolate(y, size=like.shape[-2:], mode="nearest")

        deep = self.arm32(last) + self.conv_avg(last.mean((2, 3), keepdim=True))
        deep = self.conv_head32(enlarged(deep, sixteenth))
        shallow = self.conv_head16(enlarged(self.arm16(sixteenth) + deep, eighth))
        return eighth, shallow, deep


class Fusion(nn.Module):
    """Feature fusion module."""

    def __init__(self) -> None:
        super().__init__()
        self.convblk = ConvNorm(256, 256, 1)
        self.conv1 = nn.Conv2d(256, 64, 1, bias=False)
        self.conv2 = nn.Conv2d(64, 256, 1, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.convblk(torch.cat([x, y], 1))
        return x + x * torch.sigmoid(self.conv2(F.relu(self.conv1(x.mean((2, 3), keepdim=True)))))


class Head(nn.Module):
    def __init__(self, inputs: int, middle: int):
        super().__init__()
        self.conv = ConvNorm(inputs, middle)
        self.conv_out = nn.Conv2d(middle, len(LABELS), 1, bias=False)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(self.conv_out(self.conv(x)), size=size, mode="bilinear", align_corners=True)


class BiSeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cp = ContextPath()
        self.ffm = Fusion()
        self.conv_out, self.conv_out16, self.conv_out32 = Head(256, 256), Head(128, 64), Head(128, 64)

    def all_scores(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised pictures (N, 3, H, W) -> the scores (N, 19, H, W) of the network and of its
        two helpers in training.
        """
        size = (x.shape[-2], x.shape[-1])
        eighth, shallow, deep = self.cp(x)
        fused = self.ffm(eighth, shallow)
        return self.conv_out(fused, size), self.conv_out16(shallow, size), self.conv_out32(deep, size)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pictures (N, 3, H, W), best at 512 -> scores (N, 19, H, W), in the order of
        LABELS.
        """
        eighth, shallow, _ = self.cp(x)
        out: Tensor = self.conv_out(self.ffm(eighth, shallow), (x.shape[-2], x.shape[-1]))
        return out

    def of_square(self, pictures: Tensor, side: int = SIDE) -> Tensor:
        """FFHQ squares (N, 3, S, S), -1 to 1 -> scores (N, 19, side, side)."""
        if pictures.shape[-1] != side:
            pictures = F.interpolate(pictures, size=side, mode="bilinear", antialias=True, align_corners=False)
        mean, deviation = (pictures.new_tensor(v)[None, :, None, None] for v in (MEAN, DEVIATION))
        out: Tensor = self((pictures / 2 + 0.5 - mean) / deviation)
        return out
