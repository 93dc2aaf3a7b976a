"""What the tests share: comparison, named cases, input arrays, gradient checks, shape strategies.

Nothing in here computes an expected value: that is the work of `convolite.reference`.
"""
