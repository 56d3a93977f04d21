"""Window, keys and loudspeaker through SDL 2: all that this package knows of it."""

from __future__ import annotations

import ctypes
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...format.audio import CLOCK
from ...format.errors import FevError, UsageError
from .sound import CHANNELS

LEAST_WINDOW = 512  # pixels of the larger side that a window begins with
DEVICE_SAMPLES = 1024  # that the device takes at once
QUEUED = 0.2  # seconds of sound in the device's queue
PUMP = 0.02

KEYS = {
    "SDLK_SPACE": "pause", "SDLK_LEFT": "back", "SDLK_RIGHT": "forward", "SDLK_HOME": "first", "SDLK_END": "last",
    "SDLK_f": "full", "SDLK_m": "mute", "SDLK_i": "overlay", "SDLK_q": "quit", "SDLK_ESCAPE": "quit",
}  # fmt: skip


def sdl() -> Any:
    """The library.  Raises UsageError where it is not installed."""
    try:
        with warnings.catch_warnings():  # it says where it found its binaries
            warnings.simplefilter("ignore")
            import sdl2
    except ImportError:
        raise UsageError("fev-play needs SDL: pip install 'fev[play]'") from None
    return sdl2


class Screen:
    """A window with one picture and a text over it.  Use as a context manager, from one thread."""

    def __init__(self, title: str, width: int, height: int, full: bool = False):
        self.sdl = s = sdl()
        if s.SDL_Init(s.SDL_INIT_VIDEO):
            raise FevError(f"no window can be opened: {self._why()}")
        scale = max(1, -(-LEAST_WINDOW // max(width, height)))
        flags = s.SDL_WINDOW_RESIZABLE | s.SDL_WINDOW_ALLOW_HIGHDPI
        place = s.SDL_WINDOWPOS_CENTERED
        self.window = s.SDL_CreateWindow(title.encode(), place, place, scale * width, scale * height, flags)
        if not self.window:
            raise FevError(f"no window can be opened: {self._why()}")
        s.SDL_SetHint(s.SDL_HINT_RENDER_SCALE_QUALITY, b"linear")
        self.renderer = s.SDL_CreateRenderer(self.window, -1, 0)
        if not self.renderer:
            raise FevError(f"no window can be opened: {self._why()}")
        self.size = (width, height)
        self._picture = s.SDL_CreateTexture(
            self.renderer, s.SDL_PIXELFORMAT_RGB24, s.SDL_TEXTUREACCESS_STREAMING, width, height
        )
        self._text: Any = None
        self._text_size = (0, 0)
        self._full = False
        if full:
            self.toggle_full()

    def _why(self) -> str:
        return str(self.sdl.SDL_GetError().decode(errors="replace"))

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *exc: object) -> None:
        s = self.sdl
        for texture in (self._picture, self._text):
            if texture:
                s.SDL_DestroyTexture(texture)
        s.SDL_DestroyRenderer(self.renderer)
        s.SDL_DestroyWindow(self.window)
        s.SDL_QuitSubSystem(s.SDL_INIT_VIDEO)

    def events(self) -> Iterator[str]:
        """What the user asks for: the values of KEYS, and `redraw`."""
        s, event = self.sdl, self.sdl.SDL_Event()
        names = {getattr(s, key): action for key, action in KEYS.items()}
        while s.SDL_PollEvent(ctypes.byref(event)):
            if event.type == s.SDL_QUIT:
                yield "quit"
            elif event.type == s.SDL_KEYDOWN:
                action = names.get(event.key.keysym.sym)
                if action is not None:
                    yield action
            elif event.type == s.SDL_WINDOWEVENT:
                yield "redraw"

    def press(self, key: str) -> None:
        """As if a key had been pressed; for tests.

        Args:
            key: a name of KEYS.
        """
        event = self.sdl.SDL_Event()
        event.type = self.sdl.SDL_KEYDOWN
        event.key.keysym.sym = getattr(self.sdl, key)
        self.sdl.SDL_PushEvent(ctypes.byref(event))

    def picture(self, rgb: np.ndarray) -> None:
        """uint8 (height, width, 3), of the window's first size."""
        rgb = np.ascontiguousarray(rgb)
        self.sdl.SDL_UpdateTexture(self._picture, None, rgb.ctypes.data_as(ctypes.c_void_p), rgb.strides[0])

    def text(self, rgba: np.ndarray | None) -> None:
        """uint8 (h, w, 4) over the picture; None for nothing."""
        s = self.sdl
        if self._text:
            s.SDL_DestroyTexture(self._text)
            self._text = None
        if rgba is None:
            return
        rgba = np.ascontiguousarray(rgba)
        self._text_size = rgba.shape[1], rgba.shape[0]
        self._text = s.SDL_CreateTexture(
            self.renderer, s.SDL_PIXELFORMAT_RGBA32, s.SDL_TEXTUREACCESS_STATIC, *self._text_size
        )
        s.SDL_SetTextureBlendMode(self._text, s.SDL_BLENDMODE_BLEND)
        s.SDL_UpdateTexture(self._text, None, rgba.ctypes.data_as(ctypes.c_void_p), rgba.strides[0])

    def _drawn(self) -> tuple[int, int]:
        wide, high = ctypes.c_int(), ctypes.c_int()
        self.sdl.SDL_GetRendererOutputSize(self.renderer, ctypes.byref(wide), ctypes.byref(high))
        return wide.value, high.value

    def show(self) -> None:
        """Bring picture and text to the screen, the picture as large as fits."""
        s = self.sdl
        wide, high = self._drawn()
        scale = min(wide / self.size[0], high / self.size[1])
        w, h = round(scale * self.size[0]), round(scale * self.size[1])
        s.SDL_SetRenderDrawColor(self.renderer, 0, 0, 0, 255)
        s.SDL_RenderClear(self.renderer)
        s.SDL_RenderCopy(self.renderer, self._picture, None, s.SDL_Rect((wide - w) // 2, (high - h) // 2, w, h))
        if self._text:
            s.SDL_RenderCopy(self.renderer, self._text, None, s.SDL_Rect(0, 0, *self._text_size))
        s.SDL_RenderPresent(self.renderer)

    def pixels(self) -> np.ndarray:
        """What is drawn, before `show` has swapped it away: uint8 (h, w, 3); for tests."""
        wide, high = self._drawn()
        out = np.zeros((high, wide, 3), np.uint8)
        where = out.ctypes.data_as(ctypes.c_void_p)
        self.sdl.SDL_RenderReadPixels(self.renderer, None, self.sdl.SDL_PIXELFORMAT_RGB24, where, out.strides[0])
        return out

    def toggle_full(self) -> None:
        self._full = not self._full
        self.sdl.SDL_SetWindowFullscreen(self.window, self.sdl.SDL_WINDOW_FULLSCREEN_DESKTOP if self._full else 0)


class Speaker:
    """Plays samples in time.  `put` may be called from another thread; samples of an old turn are forgotten.

    Its position leads the clock: what is heard cannot be hurried.
    """

    def __init__(self) -> None:
        self.sdl = s = sdl()
        self.device = 0
        self.muted = False
        self._lock = threading.Lock()
        self._waiting: deque[np.ndarray] = deque()
        self._end: int | None = None  # tick behind the last sample that came
        self._held = 0  # samples in `_waiting`
        self._turn, self._begin = 0, 0
        self._stop = threading.Event()
        if s.SDL_InitSubSystem(s.SDL_INIT_AUDIO):
            return
        wanted = s.SDL_AudioSpec(CLOCK, s.AUDIO_S16SYS, CHANNELS, DEVICE_SAMPLES)
        self.device = s.SDL_OpenAudioDevice(None, 0, wanted, None, 0)
        if self.device:
            self._thread = threading.Thread(target=self._run, name="speaker", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self.device:
            self._thread.join()
            self.sdl.SDL_CloseAudioDevice(self.device)
            self.device = 0

    def put(self, tick: int, samples: np.ndarray, turn: int) -> None:
        """tick: of the first sample, from the clip's first frame on."""
        with self._lock:
            if turn != self._turn:
                return
            if self._end is None:
                self._end = self._begin
            if tick > self._end:
                self._take(np.zeros((tick - self._end, CHANNELS), np.int16))
            self._take(samples[max(0, self._end - tick) :])

    def _take(self, samples: np.ndarray) -> None:
        if len(samples):
            self._waiting.append(samples)
            self._held += len(samples)
            self._end = (self._end or 0) + len(samples)

    def restart(self, turn: int, at: float) -> None:
        """Forget everything; what comes next begins at this second."""
        with self._lock:
            self._waiting.clear()
            self._held, self._end, self._turn, self._begin = 0, None, turn, round(at * CLOCK)
            if self.device:
                self.sdl.SDL_ClearQueuedAudio(self.device)

    def run(self, on: bool) -> None:
        if self.device:
            self.sdl.SDL_PauseAudioDevice(self.device, 0 if on else 1)

    def position(self) -> float | None:
        """Second of the clip that is heard now; None while nothing is."""
        if not self.device:
            return None
        with self._lock:
            queued: int = self.sdl.SDL_GetQueuedAudioSize(self.device) // (2 * CHANNELS)
            if self._end is None or not queued:
                return None
            return (self._end - self._held - queued - DEVICE_SAMPLES) / CLOCK

    def _run(self) -> None:
        while not self._stop.wait(PUMP):
            self._pump()

    def _pump(self) -> None:
        s = self.sdl
        with self._lock:
            while self._waiting and s.SDL_GetQueuedAudioSize(self.device) < QUEUED * CLOCK * 2 * CHANNELS:
                samples = np.ascontiguousarray(self._waiting.popleft())
                self._held -= len(samples)
                samples = np.zeros_like(samples) if self.muted else samples
                s.SDL_QueueAudio(self.device, samples.ctypes.data_as(ctypes.c_void_p), samples.nbytes)
