"""`fakefriends`: friend graphs like those of 2008, and the files that hold them."""
