"""The ROS 2 message definitions of a recording, as its tools read them (encoding ``ros2msg``)."""

from __future__ import annotations

_SEPARATOR = "\n" + "=" * 80 + "\n"


def schema(name: str) -> str:
    """The text of a definition and, behind it, of those that it is made of."""
    needed, found = [name], []
    while needed:
        current = needed.pop(0)
        found.append(current)
        for line in _DEFINITIONS[current].splitlines():
            kind = line.split()[0].split("[")[0] if line.split() else ""
            if kind in _DEFINITIONS and kind not in [*found, *needed]:
                needed.append(kind)
    first, *others = found
    parts = [_DEFINITIONS[first], *(f"MSG: {other}\n{_DEFINITIONS[other]}" for other in others)]
    return _SEPARATOR.join(parts)


_DEFINITIONS = {
    "builtin_interfaces/Time": "int32 sec\nuint32 nanosec\n",
    "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id\n",
    "geometry_msgs/Vector3": "float64 x\nfloat64 y\nfloat64 z\n",
    "geometry_msgs/Quaternion": "float64 x 0\nfloat64 y 0\nfloat64 z 0\nfloat64 w 1\n",
    "geometry_msgs/Twist": "geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular\n",
    "sensor_msgs/JointState": (
        "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n"
    ),
    "sensor_msgs/Imu": (
        "std_msgs/Header header\n"
        "geometry_msgs/Quaternion orientation\nfloat64[9] orientation_covariance\n"
        "geometry_msgs/Vector3 angular_velocity\nfloat64[9] angular_velocity_covariance\n"
        "geometry_msgs/Vector3 linear_acceleration\nfloat64[9] linear_acceleration_covariance\n"
    ),
    "diagnostic_msgs/KeyValue": "string key\nstring value\n",
    "diagnostic_msgs/DiagnosticStatus": (
        "byte OK=0\nbyte WARN=1\nbyte ERROR=2\nbyte STALE=3\n"
        "byte level\nstring name\nstring message\nstring hardware_id\ndiagnostic_msgs/KeyValue[] values\n"
    ),
    "diagnostic_msgs/DiagnosticArray": (
        "std_msgs/Header header\ndiagnostic_msgs/DiagnosticStatus[] status\n"
    ),
    "rcl_interfaces/Log": (
        "byte DEBUG=10\nbyte INFO=20\nbyte WARN=30\nbyte ERROR=40\nbyte FATAL=50\n"
        "builtin_interfaces/Time stamp\nuint8 level\nstring name\nstring msg\nstring file\nstring function\n"
        "uint32 line\n"
    ),
    "gaitd_msgs/Timing": (
        "builtin_interfaces/Time stamp\n"
        "float64 age_ms\nfloat64 transport_ms\nfloat64 waiting_ms\nfloat64 inference_ms\nfloat64 answer_ms\n"
        "float64 interval_ms\n"
    ),
    "gaitd_msgs/Frame": "uint64 received_ns\nuint64 step_ns\nuint64 epoch\nuint64 length\nuint8[] data\n",
}
