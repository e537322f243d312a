"""What a Python user calls and holds.

``running``      ``mmsa_suparc.run`` and ``load_run``
``run_result``   a run as data frames, a curve and a predictor
``comparing``    ``mmsa_suparc.bench`` and ``load_bench``
``bench_result`` a benchmark as data frames and figures
``live``         a bar, and in a notebook a curve, while a run trains
``pictures``     figures that notebooks show
"""
