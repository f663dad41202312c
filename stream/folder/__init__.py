"""The folder workflow: pictures in; people's boxes and cuts, poses and drawings out, a file each."""
