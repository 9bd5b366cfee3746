//! Stand-in for libnvinfer.so.10 and libnvonnxparser.so.10.
clipmark_trt_fakes::export_nvinfer!(10);
