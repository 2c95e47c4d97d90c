import numpy as np
import pytest

from sct_hf.errors import InputError
from sct_hf.metrics.frequency import frequency_groups, frequency_limits, group_metrics
from sct_hf.metrics.functional import multilabel_metrics

COUNTS = np.array([0, 1, 10, 11, 50, 100, 101, 2000, 7])


def test_groups_of_lvis() -> None:
    """Rare: at most 10 images; common: 11 to 100; frequent: more than 100 (Gupta et al., CVPR 2019)."""
    assert frequency_limits("lvis", COUNTS) == (10, 100)
    assert frequency_groups(COUNTS, (10, 100)) == [
        *("rare", "rare", "rare", "common", "common", "common", "frequent", "frequent", "rare"),
    ]


def test_own_limits_and_thirds() -> None:
    assert frequency_limits("3,60", COUNTS) == (3, 60)
    assert frequency_limits("thirds", COUNTS) == (7, 50)  # 0 1 7 | 10 11 50 | 100 101 2000
    rng = np.random.default_rng(0)
    for count in (2, 3, 20, 80):
        positives = rng.permutation(1000)[:count]
        groups = frequency_groups(positives, frequency_limits("thirds", positives))
        sizes = [groups.count(name) for name in ("rare", "common", "frequent")]
        assert max(sizes) - min(sizes) <= 1
    equal = np.full(6, 4)
    assert set(frequency_groups(equal, frequency_limits("thirds", equal))) == {"rare"}


@pytest.mark.parametrize("text", ["quarters", "10", "100,10", "10,10", "-1,5", "1,2,3", "a,b", ""])
def test_what_is_no_grouping(text: str) -> None:
    with pytest.raises(InputError, match=r"frequency_groups is .*lvis, thirds"):
        frequency_limits(text, COUNTS)


def test_each_group_has_the_map_of_its_columns() -> None:
    rng = np.random.default_rng(1)
    targets, scores = (rng.random((60, 7)) < 0.3).astype(int), rng.random((60, 7))
    targets[:, 2] = 0  # no AP
    names = list("abcdefg")
    groups = ["rare", "rare", "rare", "common", "common", "common", "common"]
    found = group_metrics(multilabel_metrics(scores, targets, label_names=names)["AP"], names, groups)
    rare, common = (multilabel_metrics(scores[:, part], targets[:, part]) for part in (slice(3), slice(3, 7)))
    assert found["mAP_rare"] == pytest.approx(rare["mAP"])
    assert found["mAP_common"] == pytest.approx(common["mAP"])
    assert found["mAP_frequent"] is None
    assert [found[f"labels_{group}"] for group in ("rare", "common", "frequent")] == [2, 4, 0]
