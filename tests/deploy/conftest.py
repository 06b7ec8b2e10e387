import chart
import pytest

RENDERS = {
    "test_chart",
    "test_kubernetes",
    "test_manifests",
    "test_monitoring",
    "test_pods",
    "test_pods_restore",
    "test_pods_small",
    "test_upgrade",
    "test_values",
}


def pytest_collection_modifyitems(items):
    """Without anything that renders charts the tests of the chart are skipped."""
    if chart.HELM is None and chart.helm_python is None:
        for item in items:
            if item.module.__name__ in RENDERS:
                item.add_marker(pytest.mark.skip(reason="neither helm nor helm-python-sdk is installed"))
