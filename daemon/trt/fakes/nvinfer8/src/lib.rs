//! Stand-in for libnvinfer.so.8 and libnvonnxparser.so.8.
clipmark_trt_fakes::export_nvinfer!(8);
