"""Attacks the model of a run folder on the test images of its data set."""

from keras_mpdsgr import data, evaluation, models
from trainers import tables
from trainers.program import usage_errors
from trainers.progress import AttackProgress, make_console
from trainers.run_folder import RunFolder


def attack_run(run_dir, chosen, eps, limit, batch_size, seed, data_dir, drop_broken):
    """Attacks a trained model, prints the table and writes it to the run folder.

    Args:
        run_dir: The run folder.
        chosen: Name of a suite, or a list of attack names.
        eps: Radius of the L-infinity ball.
        limit: Test images attacked, from the first on.
        batch_size: Images attacked at a time.
        seed: Of all that is random.
        data_dir: Folder of the data sets; None for the one that the run was trained with.
        drop_broken: Whether broken samples are spared the dearer attacks.
    """
    folder = RunFolder.existing(run_dir)
    config = folder.config()
    trained = config["flags"]
    data_dir = data_dir or config.get("places", {}).get("data_dir")
    with usage_errors():
        evaluation.suite(chosen, eps)
        images = data.load(trained["dataset"], data_dir, limit_train=1, limit_test=None)
        model = models.load(folder.model_path)
    limit = min(limit, len(images.x_test))
    console = make_console()
    with usage_errors():
        report = evaluation.evaluate(
            model,
            data.to_pixels(images.x_test[:limit]),
            images.y_test[:limit],
            attacks=chosen,
            eps=eps,
            batch_size=batch_size,
            seed=seed,
            drop_broken=drop_broken,
            progress=AttackProgress(console),
        )
    report.config["dataset"] = images.name
    name = chosen if isinstance(chosen, str) else "-".join(chosen)
    folder.results.mkdir(exist_ok=True)
    report.to_json(folder.results / f"{name}.json")
    tables.print_results(console, report.to_dict())
    console.print(f"results: {folder.results / name}.json")
