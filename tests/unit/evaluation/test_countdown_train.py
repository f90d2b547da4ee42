"""Training: the loss falls, a seed decides the weights, and the folder loads offline as any other model does."""

import dataclasses

import pytest
import torch

from moi_engines import embedded_model
from moi_eval.countdown import batches, problems, tokenizer, train
from moi_eval.countdown.recipe import Architecture, Recipe, build_model
from moi_eval.countdown.verify import is_solution

pytestmark = pytest.mark.slow

SMALL = Architecture(layers=1, hidden=32, feed_forward=64, heads=2, key_value_heads=1, head_size=16)
QUICK = Recipe(steps=30, batch_tokens=512, learning_rate=1e-2, warmup_steps=5, architecture=SMALL)
SHIPPED = embedded_model()


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny matrices gain nothing from more, and wait long for them on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _train(recipe):
    seen = []
    return train.train(recipe, seen.append).state_dict(), seen


def test_loss_falls_and_progress_counts_steps_and_tokens():
    _, seen = _train(QUICK)
    assert [now.steps for now in seen] == list(range(1, 31))
    assert seen[-1].loss < 0.75 * seen[0].loss
    assert 0 < seen[0].tokens < seen[-1].tokens <= 30 * QUICK.batch_tokens


def test_a_seed_decides_the_weights_whatever_the_random_state():
    short = dataclasses.replace(QUICK, steps=4)
    first, _ = _train(short)
    before = torch.get_rng_state()
    torch.manual_seed(99)
    again, _ = _train(short)
    other, _ = _train(dataclasses.replace(short, seed=1))
    torch.set_rng_state(before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_batches_fit_their_budget_and_hide_prompts_and_padding():
    stream = batches.stream(QUICK)
    built = tokenizer.build()
    for inputs, labels in (next(stream) for _ in range(5)):
        assert inputs.shape == labels.shape
        assert inputs.numel() <= QUICK.batch_tokens
        for row, wanted in zip(inputs, labels, strict=True):
            prompt = built.decode(row[: (wanted != batches.IGNORED).nonzero()[0, 0]])
            assert not problems.is_held_out(problems.Problem.parse(prompt).numbers)
            assert wanted[wanted != batches.IGNORED][-1] == built.eos_token_id
            assert set(row[wanted != batches.IGNORED].tolist()).isdisjoint({built.pad_token_id})


def test_learning_rate_warms_up_stays_and_decays():
    recipe = Recipe(steps=1000, warmup_steps=100, decay_from=0.6, learning_rate=1.0)
    assert recipe.rate(0) == pytest.approx(0.01)
    assert recipe.rate(99) == recipe.rate(600) == 1.0
    assert recipe.rate(800) == pytest.approx(0.5)
    assert recipe.rate(999) == 0.02


def test_recipe_refuses_what_cannot_be_trained():
    with pytest.raises(ValueError, match="steps=0 is not allowed"):
        Recipe(steps=0)


def test_command_refuses_before_it_trains(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(["--out", str(tmp_path), "--steps", "0"])
    assert "steps=0 is not allowed" in capsys.readouterr().err
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        train.main(["--out", str(tmp_path / "file")])


def test_command_trains_on_the_game_it_is_told(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(train, "train", lambda recipe, report: seen.append(recipe) or build_model(SMALL))
    for number, game in problems.GAMES.items():
        train.main(["--out", str(tmp_path / str(number)), "--numbers", str(number)])
        assert seen[-1].game is game


def test_command_writes_a_folder_that_loads(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    train.main(["--out", str(tmp_path / "model"), "--steps", "1"])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    loaded = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    assert model.dtype == torch.bfloat16
    assert model.config.model_type == "qwen3"
    assert loaded.get_vocab() == tokenizer.build().get_vocab()
    assert loaded.decode(loaded.encode("3 4 > 7 : 3 + 4 = 7 ok ! 3 + 4")) == "3 4 > 7 : 3 + 4 = 7 ok ! 3 + 4"


def test_shipped_model_is_small_and_fits_this_tokenizer():
    from transformers import AutoConfig, AutoTokenizer

    total = sum(path.stat().st_size for path in SHIPPED.iterdir())
    assert 1e6 < total < 4e6
    config = AutoConfig.from_pretrained(SHIPPED, local_files_only=True)
    loaded = AutoTokenizer.from_pretrained(SHIPPED, local_files_only=True)
    assert config.vocab_size == len(tokenizer.vocabulary())
    assert loaded.get_vocab() == tokenizer.build().get_vocab()
    assert (loaded.pad_token_id, loaded.eos_token_id) == (config.pad_token_id, config.eos_token_id)


def test_shipped_model_solves_most_held_out_problems():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(SHIPPED, dtype=torch.float32, local_files_only=True)
    loaded = AutoTokenizer.from_pretrained(SHIPPED, local_files_only=True)
    chosen = problems.held_out(120)
    inputs = loaded([problem.prompt for problem in chosen], return_tensors="pt", padding=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        outputs = model.generate(**inputs, do_sample=True, top_k=0, max_new_tokens=170)
    texts = loaded.batch_decode(outputs[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    solved = sum(map(is_solution, chosen, texts))
    # more than three standard errors from both the 90 % of the model card and the 63 % of random search
    assert solved >= 0.8 * len(chosen)
